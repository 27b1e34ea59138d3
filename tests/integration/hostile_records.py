"""Records made to harm a segment worker: batches that decompress to gigabytes, endless keys and names."""

import json
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa
from confluent_kafka import Producer

from connectors.kafka.logon import librdkafka_config
from orchestration.platform.clock import fresh_id
from orchestration.platform.settings import Settings
from schemas.activity_columns import EVENT_COLUMNS
from schemas.arrow import arrow_schema
from schemas.columns import RowSchema
from schemas.ids import Partition, Seq, TenantName
from schemas.messages import EventChunk
from schemas.partitioning import partition_of
from schemas.row_digest import digest_rows
from schemas.rows import encode_rows
from schemas.topics import EVENTS

MB: Final = 1_000_000
USERS: Final = [f"user-{n}" for n in range(40)]


class Sender:
    """Sends into one partition, where `USERS` of that partition have good events too."""

    def __init__(self, settings: Settings, tenant: TenantName) -> None:
        self._bootstrap = settings.kafka_bootstrap
        self._tenant = tenant
        self.users = [user for user in USERS if partition_of(user, settings.partitions) == 0]

    def send(self, *records: tuple[bytes | None, bytes], compression: str = "zstd") -> None:
        """Send records (key, value) as one batch: the producer collects them all until it is flushed."""
        producer = Producer(
            {
                **librdkafka_config(self._bootstrap),
                "compression.type": compression,
                "message.max.bytes": 1_000 * MB,  # applies before compression
                "queue.buffering.max.kbytes": 2_000_000,
                "batch.size": 1_000 * MB,
                "linger.ms": 200_000,  # less than `message.timeout.ms`; flushing ends it
            }
        )
        producer.list_topics(EVENTS, 60)  # while the topic is unknown, records would reach its queue one by one
        reports: list[object] = []
        for key, value in records:
            producer.produce(EVENTS, value, key, partition=0, on_delivery=lambda error, _: reports.append(error))
        assert (producer.flush(120), reports) == (0, [None] * len(records))

    def event(self, user: str, **members: Any) -> tuple[bytes, bytes]:
        record = {"user_id": user, "event": "order", "occurred_at": datetime.now(UTC).isoformat(), **members}
        return user.encode(), json.dumps({**record, "tenant": self._tenant}).encode()

    def chunk(self, *users: str) -> EventChunk:
        """A chunk with one event per user."""
        schema = RowSchema(columns=EVENT_COLUMNS)
        now = datetime.now(UTC)
        rows = [{"_ordinal": n, "user_id": u, "event": "order", "occurred_at": now} for n, u in enumerate(users)]
        batch = pa.RecordBatch.from_pylist(rows, schema=arrow_schema(schema, ordinal=True))
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
