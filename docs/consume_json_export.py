"""Read exports in JSON from a Kafka topic without Muster: python consume_json_export.py BROKER TOPIC

Prints each complete export: its marker, then a user and a row each, without a row for a removed user. Exit code 1: an
export is damaged or not ended. The numbers are those of consuming.md.
"""

import json
import sys

import kafka_client
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition


class Exports:
    """What has been read so far. `take` every message in the order of its partition."""

    def __init__(self):
        self.rows, self.started, self.ended = {}, {}, {}  # by export and partition
        self.done, self.faults = set(), []

    def take(self, export, partition, key, value):
        """The marker of the start and the rows of the export that this message completes, or none."""
        place = (export, partition)
        if export is None or export in self.done:  # 1
            return None
        if key is not None:  # 2: a repetition says the same
            self.rows.setdefault(place, {})[key.decode()] = None if value is None else json.loads(value)
            return None
        event = json.loads(value)
        if event["type"] == "io.muster.export.started":
            self.started.setdefault(place, event["data"])
        elif event["type"] == "io.muster.export.aborted":  # 3
            self.forget(export)
        elif event["type"] == "io.muster.export.ended" and place in self.started:
            rows = self.rows.get(place, {})
            removed = sum(row is None for row in rows.values())
            if (len(rows) - removed, removed) != (event["data"]["records"], event["data"]["removed"]):  # 4
                self.faults.append(f"export {export} partition {partition}: {len(rows)} rows, not {event['data']}")
                return None
            self.ended[place] = rows
            parts = [(export, number) for number in range(event["data"]["partitions"])]
            if all(part in self.ended for part in parts):  # 5
                found = {user: row for part in parts for user, row in self.ended[part].items()}
                started = self.started[place]
                self.forget(export)
                self.done.add(export)
                return started, found
        return None

    def forget(self, export):
        for known in (self.rows, self.started, self.ended):
            for place in [place for place in known if place[0] == export]:
                del known[place]


def messages(broker, topic):
    """Export, partition, key and value of each message, from the beginning of a topic to its end now."""
    consumer = Consumer({**kafka_client.settings(broker), "group.id": "unused", "enable.partition.eof": True})
    try:
        partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
        at_end = set()
        while len(at_end) < len(partitions):
            for message in consumer.consume(1000, timeout=1):
                if message.error() is None:
                    export = dict(message.headers() or ()).get("muster-export")
                    yield export and export.decode(), message.partition(), message.key(), message.value()
                elif message.error().code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # that is its public name
                    at_end.add(message.partition())
                else:
                    raise RuntimeError(message.error())
    finally:
        consumer.close()


def main(broker, topic):
    exports = Exports()
    for message in messages(broker, topic):
        if done := exports.take(*message):
            started, rows = done
            print(json.dumps(started))
            for user, row in sorted(rows.items()):
                print(json.dumps([user, row]))
    open_now = sorted({export for export, _ in exports.started})
    return exports.faults + [f"export {export}: not ended yet" for export in open_now]


if __name__ == "__main__":
    faults = main(*sys.argv[1:3])
    print("\n".join(faults), file=sys.stderr, end="\n" if faults else "")
    sys.exit(1 if faults else 0)
