#!/bin/sh
# env.sh FILE: make the file of credentials for compose, unless it is there. Each deployment gets its own.
set -eu
[ ! -s "$1" ] || exit 0
secret() { od -An -N 24 -tx1 /dev/urandom | tr -d ' \n'; }
umask 077
cat >"$1" <<END
# Made by docker/env.sh. Compose reads it; the volumes keep what the first start has seen.
POSTGRES_PASSWORD=$(secret)
S3_ACCESS_KEY=muster
S3_SECRET_KEY=$(secret)
METRICS_TOKEN=$(secret)
END
