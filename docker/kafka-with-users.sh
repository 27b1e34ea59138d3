#!/bin/bash
# Entry point of the broker in compose. The broker only accepts the users `muster` (MUSTER_PASSWORD) and `client`
# (CLIENT_PASSWORD). If its storage does not have these passwords yet, a temporary broker on the loopback of this
# container stores them first. orchestration/local/kafka does the same for the embedded broker.
set -eu
umask 077
data=/var/lib/kafka/data
known=$data/users.stored
wanted=$(printf '%s %s' "$MUSTER_PASSWORD" "$CLIENT_PASSWORD" | sha256sum | cut -d ' ' -f 1)

if [ "$(cat "$known" 2>/dev/null)" != "$wanted" ]; then
  server=127.0.0.1:9094
  (
    export KAFKA_LISTENERS=ALONE://$server,CONTROLLER://localhost:9093 KAFKA_ADVERTISED_LISTENERS=ALONE://$server
    export KAFKA_LISTENER_SECURITY_PROTOCOL_MAP=ALONE:PLAINTEXT,CONTROLLER:PLAINTEXT
    export KAFKA_INTER_BROKER_LISTENER_NAME=ALONE KAFKA_SUPER_USERS=User:ANONYMOUS
    exec /etc/kafka/docker/run
  ) &
  broker=$!
  trap 'kill $broker' EXIT
  for user in muster client; do
    [ $user = muster ] && password=$MUSTER_PASSWORD || password=$CLIENT_PASSWORD
    # In a file, because every user of the host can read command lines.
    echo "SCRAM-SHA-512=password=$password" >/tmp/user.properties
    until said=$(KAFKA_HEAP_OPTS=-Xmx64m /opt/kafka/bin/kafka-configs.sh --bootstrap-server $server --alter \
      --entity-type users --entity-name $user --add-config-file /tmp/user.properties 2>&1); do
      kill -0 $broker 2>/dev/null || { echo "$said" >&2; exit 1; }
      sleep 1
    done
  done
  rm /tmp/user.properties
  trap - EXIT
  kill $broker
  wait $broker || true
  echo "$wanted" >$known
fi

module="org.apache.kafka.common.security.scram.ScramLoginModule required"
jaas="$module username=\"muster\" password=\"$MUSTER_PASSWORD\";"
export KAFKA_LISTENER_NAME_HOST_SCRAM___SHA___512_SASL_JAAS_CONFIG=$jaas
export KAFKA_LISTENER_NAME_INTERNAL_SCRAM___SHA___512_SASL_JAAS_CONFIG=$jaas
export KAFKA_LISTENER_NAME_CONTROLLER_SCRAM___SHA___512_SASL_JAAS_CONFIG=$jaas
# For tools.
printf '%s\n' security.protocol=SASL_PLAINTEXT sasl.mechanism=SCRAM-SHA-512 "sasl.jaas.config=$jaas" >/tmp/muster.properties
unset MUSTER_PASSWORD CLIENT_PASSWORD
exec /etc/kafka/docker/run
