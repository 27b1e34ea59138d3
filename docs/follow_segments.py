"""Follow who enters and leaves Muster's segments, without Muster:

    python follow_segments.py BROKER SCHEMAS [STORE [MANIFEST RECEIPT]]

SCHEMAS is a folder with the .avsc files (schemas/avro). STORE is a SQLite file with the members and the offsets read so
far: run it again with the same arguments and it resumes where it stopped or was killed. A new store starts at the
beginning of the topic, or at a snapshot of one segment, which it then follows: MANIFEST of an export of all members,
RECEIPT as `muster receipt JOB --json` prints it. Prints each valid change as a line of JSON, up to the current end of
the topic; lines may repeat after a crash. Exit code 1: the log contradicts the stored state. Needs confluent-kafka,
fastavro and pyarrow, and beside it verify_export.py (xxhash) and kafka_client.py, which explains BROKER. The numbers
are those of consuming.md; to run continuously, loop over step 6.
"""

import io
import json
import sqlite3
import sys
from pathlib import Path

import kafka_client
import pyarrow as pa
import verify_export
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition
from fastavro import parse_schema, schemaless_reader
from fastavro.schema import fingerprint, to_parsing_canonical_form

TOPIC = "muster.membership-changes"


class ContradictionError(Exception):
    """The log contradicts the stored state; the batch is rolled back. Start again from a snapshot."""


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


class Memberships:
    """Members per segment and the next offset per partition, stored in one transaction."""

    def __init__(self, store=":memory:"):
        self.db = sqlite3.connect(store)
        self.db.executescript("""
            CREATE TABLE IF NOT EXISTS members (tenant, segment, user, since, PRIMARY KEY (tenant, segment, user));
            CREATE TABLE IF NOT EXISTS places (partition PRIMARY KEY, next_offset, generation, seq);
            CREATE TABLE IF NOT EXISTS followed (tenant, segment);  -- empty: all segments
        """)
        self.followed = self.db.execute("SELECT tenant, segment FROM followed").fetchone()

    def offsets(self):
        """Where to resume: partition -> offset."""
        return dict(self.db.execute("SELECT partition, next_offset FROM places"))

    def begin(self, manifest, receipt):
        """Load the members of a snapshot, and the offsets at which its changes start."""
        made, export = (json.loads(Path(path).read_text(encoding="utf-8")) for path in (receipt, manifest))
        for name in ("tenant", "audience", "version", "snapshot_id"):
            if made[name] != export[name]:
                raise ContradictionError(f"the receipt has {name} {made[name]}, the manifest {export[name]}")
        if export["delta"] or export["rows"] != export["members"]:
            raise ContradictionError("this is not an export of all members")
        if fault := verify_export.main(manifest):
            raise ContradictionError(fault)
        self.followed = (made["tenant"], made["snapshot"]["segment"])
        names = [column["name"] for column in export["schema"]]
        with self.db:
            self.db.execute("INSERT INTO followed VALUES (?, ?)", self.followed)
            for file in export["files"]:
                rows = verify_export.rows(Path(manifest).parent / file["key"], export["format"], names)
                self.db.executemany(
                    "INSERT INTO members VALUES (?, ?, ?, NULL)", ((*self.followed, r[0]) for r in rows)
                )
            for p in made["partitions"]:  # any seq is the next
                self.db.execute(
                    "INSERT INTO places VALUES (?, ?, ?, NULL)", (p["partition"], p["changes"], p["generation"])
                )

    def take(self, partition, offset, name, m):
        """The changes of a message that count: segment, user, entered, from when on, why."""
        known = self.db.execute("SELECT generation, seq FROM places WHERE partition = ?", (partition,)).fetchone()
        (generation, expected), counted = known or (-1, None), []
        if name == "OwnerStarted":
            generation, expected = offset, 0  # 2
        elif name == "MembershipChanges" and m["generation"] >= generation:  # 3: else of an owner that was replaced
            here = f"partition {partition} offset {offset}"
            if m["generation"] > generation or expected is None:
                generation, expected = m["generation"], m["seq"]  # 4
            if m["seq"] > expected:
                raise ContradictionError(f"{here}: messages {expected}..{m['seq'] - 1} are missing")
            if m["seq"] == expected:  # 3: else a repetition
                expected += 1  # 4
                if self.followed in {None, (m["tenant"], m["segment"])}:
                    counted = list(self._apply(here, m))
        self.db.execute(
            "INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?)", (partition, offset + 1, generation, expected)
        )
        return counted

    def _apply(self, here, m):
        for row in pa.ipc.open_stream(m["rows"]).read_next_batch().to_pylist():  # 5
            member = (m["tenant"], m["segment"], row["user_id"])
            if row["entered"]:
                sql, more = "INSERT OR IGNORE INTO members VALUES (?, ?, ?, ?)", (str(row["effective_at"]),)
            else:
                sql, more = "DELETE FROM members WHERE (tenant, segment, user) = (?, ?, ?)", ()
            if self.db.execute(sql, member + more).rowcount == 0:
                raise ContradictionError(f"{here}: duplicate change of {member}")
            yield {"tenant": m["tenant"], "segment": m["segment"], "cause": m["cause"], **row}


def batches(broker, offsets):
    """Lists of (partition, offset, value), from these offsets or the beginning of the topic to its current end."""
    settings = {**kafka_client.settings(broker), "group.id": "unused", "enable.auto.commit": False}
    # Expired offsets are an error: skipping them would lose changes.
    consumer = Consumer({**settings, "enable.partition.eof": True, "auto.offset.reset": "error"})
    try:
        partitions = consumer.list_topics(TOPIC, timeout=30).topics[TOPIC].partitions
        consumer.assign([TopicPartition(TOPIC, p, offsets.get(p, OFFSET_BEGINNING)) for p in partitions])
        at_end = set()
        while len(at_end) < len(partitions):
            batch = []
            for message in consumer.consume(100, timeout=1):
                if message.error() is None:
                    batch.append((message.partition(), message.offset(), message.value()))
                elif message.error().code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # that is its public name
                    at_end.add(message.partition())
                else:
                    raise RuntimeError(message.error())
            yield batch
    finally:
        consumer.close()


def main(broker, folder, store=":memory:", *snapshot):
    decode, memberships = decoder(folder), Memberships(store)
    if snapshot and not memberships.offsets():
        memberships.begin(*snapshot)
    for batch in batches(broker, memberships.offsets()):
        with memberships.db:  # 6
            for partition, offset, value in batch:
                for change in memberships.take(partition, offset, *decode(value)):
                    print(json.dumps(change, default=str))
            sys.stdout.flush()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ContradictionError as fault:
        sys.exit(str(fault))
