#!/bin/sh
# env.sh FILE: make the file of credentials for compose, and what a file of before does not have yet. Each deployment
# gets its own.
set -eu
umask 077
[ -s "$1" ] || echo "# Made by docker/env.sh. Compose reads it; the volumes keep what the first start has seen." >"$1"
secret() { od -An -N 24 -tx1 /dev/urandom | tr -d ' \n'; }
add() { grep -q "^$1=" "$2" || echo "$1=$3" >>"$2"; }
add POSTGRES_PASSWORD "$1" "$(secret)"
add S3_ACCESS_KEY "$1" muster
add S3_SECRET_KEY "$1" "$(secret)"
add METRICS_TOKEN "$1" "$(secret)"
add KAFKA_PASSWORD "$1" "$(secret)"
add KAFKA_CLIENT_PASSWORD "$1" "$(secret)"
