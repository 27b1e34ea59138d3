#!/bin/sh
# healthy.sh SECONDS COMPOSE...: wait until every container of a compose project that has a health check is healthy.
set -eu
deadline=$(($(date +%s) + $1))
shift
while :; do
  waiting=
  for container in $("$@" ps --quiet); do
    state=$(docker inspect --format \
      '{{.Name}} {{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{else}}unchecked{{end}} {{.State.ExitCode}}' "$container")
    case $state in
      *' running healthy '* | *' exited unchecked 0') ;;
      *) waiting="$waiting$state; " ;;
    esac
  done
  [ -n "$waiting" ] || exit 0
  [ "$(date +%s)" -lt "$deadline" ] || { echo "not healthy: $waiting" >&2; exit 1; }
  sleep 1
done
