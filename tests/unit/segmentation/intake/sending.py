"""Records as producers send them, on a topic with 4 partitions."""

import json
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa

from schemas.activity_columns import EVENT_COLUMNS, EVENT_ID_COLUMN
from schemas.arrow import arrow_schema
from schemas.columns import Column, RowSchema
from schemas.ids import Partition, Seq, TenantName
from schemas.messages import EventChunk, ProfileChunk
from schemas.row_digest import digest_rows
from schemas.rows import encode_rows
from schemas.topics import EVENTS, PROFILES
from segmentation.intake.topic_records import TopicRecord

P: Final = 4
HERE: Final = Partition(1)
USER: Final = "alice"
"""A user of partition 1 of 4; `erin` is in 0, `bob` in 2, `frank` in 3."""
NOON: Final = datetime(2026, 11, 25, 12, tzinfo=UTC)
NOON_US: Final = 1_795_608_000_000_000
AT: Final = "2026-11-25T11:59:00Z"
AT_US: Final = NOON_US - 60_000_000


def record(
    value: bytes | None, *, topic: str = EVENTS, key: bytes | None = None, offset: int = 7, partition: int = HERE
) -> TopicRecord:
    return TopicRecord(
        topic=topic, partition=Partition(partition), offset=offset, key=key, value=value, received_at_us=NOON_US
    )


def json_event(**members: Any) -> bytes:
    given = {"user_id": USER, "event": "order", "occurred_at": AT, **members}
    return json.dumps({name: value for name, value in given.items() if value is not ...}).encode()


def event_chunk(
    rows: list[dict[str, Any]],
    properties: tuple[Column, ...] = (Column(name="total", type="double"), Column(name="coupon")),
    *,
    source: str = "s3://inbox/orders.csv?versionId=1",
    partition: int = HERE,
    with_ids: bool = True,
) -> EventChunk:
    schema = RowSchema(columns=(*EVENT_COLUMNS, *((EVENT_ID_COLUMN,) if with_ids else ()), *properties))
    filled = [{"_ordinal": n, "user_id": USER, "event": "order", "occurred_at": NOON, **r} for n, r in enumerate(rows)]
    batch = pa.RecordBatch.from_pylist(filled, schema=arrow_schema(schema, ordinal=True))
    return EventChunk(
        tenant=TenantName("shop"),
        source=source,
        import_id=None,
        attempt=None,
        partition=Partition(partition),
        seq=Seq(0),
        count=len(rows),
        digest=digest_rows(batch, schema),
        rows=encode_rows(batch),
    )


def profile_chunk(rows: list[dict[str, Any]], *attributes: Column) -> ProfileChunk:
    schema = RowSchema(columns=attributes)
    filled = [{"_ordinal": n, "user_id": USER, **r} for n, r in enumerate(rows)]
    batch = pa.RecordBatch.from_pylist(filled, schema=arrow_schema(schema, ordinal=True))
    return ProfileChunk(
        tenant=TenantName("shop"),
        source="crm-1",
        import_id=None,
        attempt=None,
        partition=HERE,
        seq=Seq(0),
        count=len(rows),
        digest=digest_rows(batch, schema),
        rows=encode_rows(batch),
    )


def profile_record(value: bytes | None, **given: Any) -> TopicRecord:
    return record(value, topic=PROFILES, **given)


def mapping(pairs: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """A map of values as a plain mapping."""
    return {name: next((v for v in value.values() if v is not None), None) for name, value in pairs}
