"""Records that are made to harm a worker of segments: batches that unpack to gigabytes, keys and names without end.

Each becomes a dead letter that says what it was, the worker that meets it lives on in little memory, and good records
beside it count.
"""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from confluent_kafka import Producer

from orchestration.catalog.segment_records import NewRule
from orchestration.clock import fresh_id, now_ms
from orchestration.context import Context
from orchestration.operations import dead_letters
from orchestration.operations.segment_check import check
from orchestration.settings import Settings
from schemas.activity_columns import EVENT_COLUMNS
from schemas.codec import CODEC
from schemas.columns import RowSchema
from schemas.ids import AudienceName, Partition, Seq, TenantName
from schemas.messages import EventChunk
from schemas.partitioning import partition_of
from schemas.row_digest import digest_rows
from schemas.rows import encode_rows
from schemas.topics import EVENTS
from segmentation.rules.parser import parse_rule
from tests.conftest import StartStack
from tests.integration.workers import Workers, eventually

pytestmark = [
    pytest.mark.integration,
    pytest.mark.embedded("about workers, not about brokers"),
    pytest.mark.timeout(400),
]

MB = 1_000_000
USERS = [f"user-{n}" for n in range(40)]
P = 2


@pytest.fixture(scope="module")
def settings(start_module_stack: StartStack) -> Settings:
    """All but workers."""
    return start_module_stack(parts=("kafka", "s3", "catalog", "engine", "relay"), partitions=P)


class Sender:
    """Sends into one partition, where `USERS` that belong there have good events too."""

    def __init__(self, settings: Settings, tenant: TenantName) -> None:
        self._bootstrap = settings.kafka_bootstrap
        self._tenant = tenant
        self.users = [user for user in USERS if partition_of(user, P) == 0]

    def send(self, *records: tuple[bytes | None, bytes], compression: str = "zstd") -> None:
        """(key, value) of records that come in as few batches as may be."""
        producer = Producer(
            {
                "bootstrap.servers": self._bootstrap,
                "compression.type": compression,
                "message.max.bytes": 1_000 * MB,  # of what is not packed yet
                "queue.buffering.max.kbytes": 2_000_000,
                "batch.size": 1_000 * MB,
                "linger.ms": 200,
            }
        )
        reports: list[object] = []
        for key, value in records:
            producer.produce(EVENTS, value, key, partition=0, on_delivery=lambda error, _: reports.append(error))
        assert (producer.flush(120), reports) == (0, [None] * len(records))

    def event(self, user: str, **members: Any) -> tuple[bytes, bytes]:
        record = {"user_id": user, "event": "order", "occurred_at": datetime.now(UTC).isoformat(), **members}
        return user.encode(), json.dumps({**record, "tenant": self._tenant}).encode()

    def chunk(self, *users: str) -> EventChunk:
        """A chunk of one event of each."""
        schema = RowSchema(columns=EVENT_COLUMNS)
        now = datetime.now(UTC)
        rows = [{"_ordinal": n, "user_id": u, "event": "order", "occurred_at": now} for n, u in enumerate(users)]
        batch = pa.RecordBatch.from_pylist(rows, schema=schema.arrow(ordinal=True))
        return EventChunk(
            tenant=self._tenant,
            source=f"made-{fresh_id()}",
            import_id=None,
            attempt=None,
            partition=Partition(0),
            seq=Seq(0),
            count=len(users),
            digest=digest_rows(batch, schema),
            rows=encode_rows(batch),
        )


def wide_rows() -> bytes:
    """Rows with so many columns that their names fill a message."""
    names = [f"{n:0300d}" for n in range(2_000)]
    return encode_rows(pa.RecordBatch.from_arrays([pa.array([], pa.bool_())] * len(names), names))


def test_records_that_are_made_to_harm_become_dead_letters_beside_good_ones(
    settings: Settings, workers: Workers
) -> None:
    context, tenant = Context(settings), TenantName(f"t{fresh_id()}")
    context.audiences.add_tenant(tenant, now_ms())
    rule = NewRule(text="ever(order)", timezone=None, rule=parse_rule("ever(order)"))
    context.segments.create(tenant, AudienceName("buyers"), rule, new_id=fresh_id(), author="ann", now_ms=now_ms())
    workers.start("a", MUSTER_WORKER_SESSION_TIMEOUT_S="30")  # who is thrown out reads again, and counts twice
    sender = Sender(settings, tenant)
    good = iter(sender.users)
    sender.send(sender.event(next(good)))

    def counted() -> int:
        [standing] = context.segments.standing(tenant)
        return sum(p.members for p in standing.partitions.values())

    eventually(lambda: counted() == 1, 120)
    before = workers.peak_rss
    for compression in ("zstd", "gzip", "lz4"):
        sender.send((None, b"\0" * (150 if compression == "lz4" else 800) * MB), compression=compression)
        sender.send(sender.event(next(good)))
    inside = [sender.event(next(good)), (None, b"{" + b" " * 40 * MB), sender.event(next(good))]
    sender.send(*inside)  # one batch: what is good in it is not read either
    sender.send((None, b"{" + b" " * 20 * MB))
    sender.send((b"k" * 5 * MB, sender.event(next(good))[1]))
    sender.send(sender.event(next(good), properties={"note": "x" * 10 * MB}))
    chunk = sender.chunk(next(good), next(good))
    sender.send((None, CODEC.encode(replace(chunk, rows=wide_rows()))))
    sender.send((None, CODEC.encode(replace(chunk, rows=chunk.rows + chunk.rows))))
    sender.send((None, CODEC.encode(sender.chunk(*(last := [next(good), next(good)])))))

    letters = eventually(lambda: len(found := dead_letters.read(settings.kafka_bootstrap)) >= 9 and found, 120)
    reasons = [letter.reason for _, letter in letters]
    unpacks = "undecodable: it is a batch of records that unpacks to more than 33554432 bytes; nothing of it was read"
    large = f"too_large: {20 * MB + 1} bytes; a record may have 262144"
    assert reasons[:5] == [unpacks] * 4 + [f"{large} (only the beginning of its {20 * MB + 1} bytes is kept here)"]
    assert [reason.split(": ")[0] for reason in reasons[5:]] == ["key_mismatch", "too_large", *["broken_chunk"] * 2]
    assert [(letter.topic, letter.partition) for _, letter in letters] == [(EVENTS, 0)] * 9
    members = {sender.users[n] for n in (0, 1, 2, 3)} | set(last)
    eventually(lambda: counted() == len(members), 60)
    checked = check(context, tenant, "buyers", 60).comparison
    assert (checked.equal, checked.by_rule) == (True, len(members))
    assert workers.restarts == 0
    assert workers.peak_rss - before < 400 * MB
