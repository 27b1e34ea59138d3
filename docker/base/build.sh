#!/bin/sh
# build.sh TAG: build a base image from this machine's Debian mirror, for machines without a reachable registry.
set -eu
tag=$1
codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' | head -n 1)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
# The folder need not survive a power loss, so dpkg does not sync every file to disk.
options=$root/etc/dpkg/dpkg.cfg.d/build
mkdir -p "${options%/*}"
echo force-unsafe-io >"$options"
debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates "$codename" "$root" "$mirror" >"$root.log" 2>&1 ||
  { tail -n 20 "$root.log" >&2; exit 1; }
rm -f "$root.log" "$options"
ln -sf python3 "$root/usr/bin/python"
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* \
  "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/usr/share/locale/* "$root"/usr/share/info/*
# An imported image has no environment variables.
tar -C "$root" -c . | docker import --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
  --change 'LABEL muster.stand-in=base' - "$tag" >/dev/null
