"""Exports to topics for tests: an export of some rows, and all of its steps in order."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import pyarrow as pa

from connectors.publishing.ports import TopicLog
from connectors.sinks.kafka_topic import ChangedRows, end, send_group, start
from connectors.sinks.topic_export import GroupSent, TopicExport
from schemas.columns import Column, RowSchema
from schemas.ids import Attempt, AudienceName, JobId, TenantName, Version
from schemas.manifest import Change

EXPORT: Final = JobId("01jd0000000000000000000000")
SCHEMA: Final = RowSchema(columns=(Column(name="age", type="long"), Column(name="note")))
Row = tuple[str, int | None, str | None]


def topic_export(partitions: int = 4, *, attempt: int = 1, base: int | None = None, **changed: Any) -> TopicExport:
    """An export of version 3 of acme/vip."""
    values: dict[str, Any] = {
        "export_id": EXPORT,
        "attempt": Attempt(attempt),
        "tenant": TenantName("acme"),
        "audience": AudienceName("vip"),
        "version": Version(3),
        "snapshot_id": 7_000_000_000_000_000_003,
        "base_version": None if base is None else Version(base),
        "columns": SCHEMA,
        "partitions": partitions,
        "created_at_us": 1_780_000_000_000_000,
    }
    return TopicExport(**{**values, **changed})


def batches(rows: Sequence[Row], size: int = 1_000) -> Iterator[pa.RecordBatch]:
    """Batches as DuckDB returns them: columns in any order, all nullable."""
    for first in range(0, len(rows), size):
        users, ages, notes = zip(*rows[first : first + size], strict=True)
        yield pa.RecordBatch.from_arrays(
            [pa.array(notes, pa.string()), pa.array(users, pa.string()), pa.array(ages, pa.int64())],
            ["note", "user_id", "age"],
        )


def whole(rows: Sequence[Row], size: int = 1_000) -> list[ChangedRows]:
    """A group of a whole version."""
    return [(None, batches(rows, size))]


def delta(added: Sequence[Row], removed: Sequence[Row], size: int = 1_000) -> list[ChangedRows]:
    """A group of a delta."""
    kinds: list[tuple[Change, Sequence[Row]]] = [("added", added), ("removed", removed)]
    return [(change, batches(rows, size)) for change, rows in kinds]


def export_all(export: TopicExport, log: TopicLog, groups: Sequence[list[ChangedRows]]) -> list[GroupSent]:
    """Run all steps of an export."""
    start(export, log)
    sent = [send_group(export, log, group=number, rows=rows) for number, rows in enumerate(groups)]
    end(export, log, sent)
    return sent
