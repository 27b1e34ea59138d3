"""Follow who enters and leaves Muster's segments, without Muster:

    python follow_segments.py BROKER SCHEMAS [STORE [MANIFEST RECEIPT]]

SCHEMAS is a folder with the .avsc files (schemas/avro). STORE is a file (SQLite) with the members and how far the topic
was read: run it again with the same arguments and it goes on, also where it was killed. A new store begins with the
topic, or with a snapshot of one segment and follows that: MANIFEST of a whole export of it, RECEIPT as `muster receipt
JOB --json` prints it. Prints each change that counts as a line of JSON, up to where the topic ends now; a line may come
again after a kill. Exit code 1: something contradicts what was told before. Needs confluent-kafka, fastavro, pyarrow,
and beside it verify_export.py (xxhash) and kafka_client.py, which says what BROKER is. The numbers are those of
consuming.md; step 6 for ever is to run it in a loop.
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
    """What was told does not fit to what was told before. Nothing of it is kept: begin anew, with a snapshot."""


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
    """Who is in which segment, and how far each partition was read: one transaction keeps both."""

    def __init__(self, store=":memory:"):
        self.db = sqlite3.connect(store)
        self.db.executescript("""
            CREATE TABLE IF NOT EXISTS members (tenant, segment, user, since, PRIMARY KEY (tenant, segment, user));
            CREATE TABLE IF NOT EXISTS places (partition PRIMARY KEY, next_offset, generation, seq);
            CREATE TABLE IF NOT EXISTS followed (tenant, segment);  -- empty: all segments
        """)
        self.followed = self.db.execute("SELECT tenant, segment FROM followed").fetchone()

    def places(self):
        """Where to read on: partition -> offset."""
        return dict(self.db.execute("SELECT partition, next_offset FROM places"))

    def begin(self, manifest, receipt):
        """Take in the members of a snapshot, and from where on its changes follow."""
        made, export = (json.loads(Path(path).read_text(encoding="utf-8")) for path in (receipt, manifest))
        for name in ("tenant", "audience", "version", "snapshot_id"):
            if made[name] != export[name]:
                raise ContradictionError(f"the receipt has {name} {made[name]}, the manifest {export[name]}")
        if export["delta"] or export["rows"] != export["members"]:
            raise ContradictionError("it is not an export of all members")
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
                raise ContradictionError(f"{here}: {member} was told twice")
            yield {"tenant": m["tenant"], "segment": m["segment"], "cause": m["cause"], **row}


def batches(broker, places):
    """Lists of (partition, offset, value), from these places or the topic's beginning to where it ends now."""
    settings = {**kafka_client.settings(broker), "group.id": "unused", "enable.auto.commit": False}
    # What the topic has forgotten is an error: to go on behind it would lose changes.
    consumer = Consumer({**settings, "enable.partition.eof": True, "auto.offset.reset": "error"})
    try:
        partitions = consumer.list_topics(TOPIC, timeout=30).topics[TOPIC].partitions
        consumer.assign([TopicPartition(TOPIC, p, places.get(p, OFFSET_BEGINNING)) for p in partitions])
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
    if snapshot and not memberships.places():
        memberships.begin(*snapshot)
    for batch in batches(broker, memberships.places()):
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
