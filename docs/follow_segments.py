"""Follow who enters and leaves Muster's segments, without Muster: python follow_segments.py BROKER SCHEMAS

SCHEMAS is a folder with the .avsc files (schemas/avro). Needs confluent-kafka, fastavro, pyarrow. Prints each change
that counts as a line of JSON, up to where the topic ends now; exit code 1: something contradicts what was told before.
The numbers are those of consuming.md. A consumer that goes on for ever does what step 6 says.
"""

import io
import json
import sys
from pathlib import Path

import pyarrow as pa
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition
from fastavro import parse_schema, schemaless_reader
from fastavro.schema import fingerprint, to_parsing_canonical_form

TOPIC = "muster.membership-changes"


def decoder(folder):
    """Bytes -> (name of the message, its fields); (None, None) for what is none of these messages."""  # 1
    schemas = [json.loads(path.read_text(encoding="utf-8")) for path in Path(folder).rglob("*.avsc")]
    known = {fingerprint(to_parsing_canonical_form(s), "CRC-64-AVRO"): (s["name"], parse_schema(s)) for s in schemas}

    def decode(value):
        name, schema = known.get((value or b"")[2:10].hex(), (None, None))
        if name is None or value[:2] != b"\xc3\x01":
            return None, None
        return name, schemaless_reader(io.BytesIO(value[10:]), schema)

    return decode


class Memberships:
    """What has been read so far. `take` every message in the order of its partition."""

    def __init__(self):
        self.owner, self.inside, self.faults = (
            {},
            {},
            [],
        )  # by partition: (generation, next seq); (segment, user) -> when

    def take(self, partition, offset, name, m):
        """The changes of a message that count: segment, user, entered, from when on, why."""
        if name == "OwnerStarted":
            self.owner[partition] = (offset, 0)  # 2
        if name != "MembershipChanges":
            return
        generation, expected = self.owner.get(partition, (-1, 0))
        if (m["generation"], m["seq"]) < (generation, expected):
            return  # 3: of an owner that was replaced, or a repetition
        if m["generation"] == generation and m["seq"] > expected:
            self.faults.append(
                f"partition {partition} offset {offset}: messages {expected}..{m['seq'] - 1} are missing"
            )
        self.owner[partition] = (m["generation"], m["seq"] + 1)  # 4
        rows = pa.ipc.open_stream(m["rows"]).read_next_batch().to_pylist()
        for row in rows:  # 5
            member = (m["tenant"], m["segment"], row["user_id"])
            if row["entered"] == (member in self.inside):
                self.faults.append(f"partition {partition} offset {offset}: {member} was told twice")
            if row["entered"]:
                self.inside[member] = row["effective_at"]
            else:
                self.inside.pop(member, None)
            yield {"tenant": m["tenant"], "segment": m["segment"], "cause": m["cause"], **row}


def messages(broker):
    """(partition, offset, value) from the topic's beginning to its end now, each partition in order."""
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "unused", "enable.partition.eof": True})
    try:
        partitions = consumer.list_topics(TOPIC, timeout=30).topics[TOPIC].partitions
        consumer.assign([TopicPartition(TOPIC, partition, OFFSET_BEGINNING) for partition in partitions])
        at_end = set()
        while len(at_end) < len(partitions):
            for message in consumer.consume(100, timeout=1):
                if message.error() is None:
                    yield message.partition(), message.offset(), message.value()
                elif message.error().code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # that is its public name
                    at_end.add(message.partition())
                else:
                    raise RuntimeError(message.error())
    finally:
        consumer.close()


def main(broker, folder):
    decode, memberships = decoder(folder), Memberships()
    for partition, offset, value in messages(broker):
        for change in memberships.take(partition, offset, *decode(value)):
            print(json.dumps(change, default=str))
    return memberships.faults


if __name__ == "__main__":
    faults = main(*sys.argv[1:3])
    print("\n".join(faults), file=sys.stderr, end="\n" if faults else "")
    sys.exit(1 if faults else 0)
