#!/bin/sh
# healthy.sh SECONDS COMPOSE...: wait until every container with a health check in a compose project is healthy.
set -eu
deadline=$(($(date +%s) + $1))
shift
# Listed only once, because each call of docker-compose takes a second of CPU time.
containers=$("$@" ps --quiet)
while :; do
  states=$(docker inspect --format \
    '{{.Name}} {{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{else}}unchecked{{end}} {{.State.ExitCode}};' $containers)
  waiting=$(echo "$states" | grep -v -e ' running healthy ' -e ' exited unchecked 0;') || exit 0
  [ "$(date +%s)" -lt "$deadline" ] || { echo "not healthy: $waiting" >&2; exit 1; }
  sleep 1
done
