"""Read Muster's exports from a Kafka topic without Muster: python consume_export.py BROKER TOPIC SCHEMAS

SCHEMAS is a folder with the .avsc files (schemas/avro). Needs confluent-kafka, fastavro, pyarrow, and beside it
verify_export.py (xxhash) and kafka_client.py, which explains BROKER. Prints each complete export once; exit code 1: one
is incomplete or damaged. The numbers are those of consuming.md. Exports are held in memory: a consumer that runs
continuously does what step 8 says.
"""

import io
import json
import sys
from pathlib import Path

import kafka_client
import pyarrow as pa
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition
from fastavro import parse_schema, schemaless_reader
from fastavro.schema import fingerprint, to_parsing_canonical_form
from verify_export import digest, parsed


def decoder(folder):
    """Bytes -> (name of the message, its fields); (None, None) for any other message."""  # 1
    schemas = [json.loads(path.read_text(encoding="utf-8")) for path in Path(folder).rglob("*.avsc")]
    known = {fingerprint(to_parsing_canonical_form(s), "CRC-64-AVRO"): (s["name"], parse_schema(s)) for s in schemas}

    def decode(value):
        name, schema = known.get((value or b"")[2:10].hex(), (None, None))
        if name is None or value[:2] != b"\xc3\x01":
            return None, None
        return name, schemaless_reader(io.BytesIO(value[10:]), schema)

    return decode


class Exports:
    """What has been read so far. `take` every message in the order of its partition."""

    def __init__(self):
        self.open, self.over, self.done = {}, {}, {}  # by export id: its attempt now, attempts that are over, its rows
        self.faults = []

    def take(self, name, m):
        """The export that this message completes, or none."""
        identity = m["export_id"]
        attempt, now = m["attempt"], self.open.get(identity)
        if identity in self.done or attempt <= self.over.get(identity, 0) or (now and attempt < now["attempt"]):
            return None  # 2: a repetition, or a zombie
        if name == "ExportAborted":  # 3
            self.open.pop(identity, None)
            self.over[identity] = attempt
            return None
        if name == "ExportStarted":
            if now is None or attempt > now["attempt"]:  # 4: of a newer attempt: the older one is dropped
                now = self.open[identity] = {**m, "begun": set(), "ended": set(), "chunks": {}}
            now["begun"].add(m["partition"])
        if now is None or attempt != now["attempt"] or m["partition"] not in now["begun"]:
            return None  # 4: its beginning was not read
        if name == "ExportChunk":
            now["chunks"].setdefault((m["partition"], m["group"], m["seq"]), m)  # 5: a second one is the same
        if name == "ExportEnded":
            now["ended"].add(m["partition"])
            if fault := self.reconcile(now, m):  # 6: final, since everything was acknowledged before the marker
                self.faults.append(f"export {identity} partition {m['partition']}: {fault}")
                self.open.pop(identity)
                self.over[identity] = attempt
            elif len(now["ended"]) == m["partitions"]:
                self.done[identity] = self.open.pop(identity)
                return self.done[identity]  # 7
        return None

    def reconcile(self, now, end):
        mine = {place[1:]: chunk for place, chunk in now["chunks"].items() if place[0] == end["partition"]}
        expected = {(group, seq) for group, chunks in enumerate(end["chunks"]) for seq in range(chunks)}
        if mine.keys() != expected:
            return f"chunks (group, seq) {sorted(expected ^ mine.keys())} are missing or too many"
        types = ["string", *(column["type"] for column in now["columns"])]
        for kind, removals in (("digest", False), ("removed", True)):
            total = (0, 0, 0)
            for place, chunk in mine.items():
                if (chunk["change"] == "removed") == removals:
                    found = digest(members(chunk), types)
                    if found != parsed(chunk["digest"]):
                        return f"chunk {place}: its rows have digest {found}, not {chunk['digest']}"
                    total = tuple((a + b) % 2**64 for a, b in zip(total, found, strict=True))
            if total != parsed(end[kind]):
                return f"{kind} {total}, not {end[kind]}"
        return None


def members(chunk):
    batch = pa.ipc.open_stream(chunk["rows"]).read_next_batch()
    return list(zip(*(column.to_pylist() for column in batch.columns), strict=True))


def changes(export):
    """(change, row) of an export that is whole, removals first: a member with other attributes is in both."""
    for removals in (True, False):
        for _, chunk in sorted(export["chunks"].items()):
            if (chunk["change"] == "removed") == removals:
                yield from ((chunk["change"], row) for row in members(chunk))


def values(broker, topic):
    """The values of a topic from its beginning to its end now, each partition in order."""
    consumer = Consumer({**kafka_client.settings(broker), "group.id": "unused", "enable.partition.eof": True})
    try:
        partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
        at_end = set()
        while len(at_end) < len(partitions):
            for message in consumer.consume(100, timeout=1):
                if message.error() is None:
                    yield message.value()
                elif message.error().code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # that is its public name
                    at_end.add(message.partition())
                else:
                    raise RuntimeError(message.error())
    finally:
        consumer.close()


def main(broker, topic, folder):
    decode, exports = decoder(folder), Exports()
    for value in values(broker, topic):
        name, message = decode(value)
        if name and name.startswith("Export") and (done := exports.take(name, message)):
            kind = "version" if done["base_version"] is None else f"changes from version {done['base_version']} to"
            print(f"export {done['export_id']}: {kind} {done['version']} of {done['tenant']}/{done['audience']}")
            for change, row in changes(done):
                print(json.dumps([change, *row], default=str))
    exports.faults += [f"export {identity}: not ended yet" for identity in exports.open]
    return exports.faults


if __name__ == "__main__":
    faults = main(*sys.argv[1:4])
    print("\n".join(faults), file=sys.stderr, end="\n" if faults else "")
    sys.exit(1 if faults else 0)
