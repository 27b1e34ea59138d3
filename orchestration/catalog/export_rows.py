"""Rows of the tables of exports as values, and what every change of an export does with them."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from orchestration.catalog.records import Export, Held, JobError
from orchestration.catalog.tables import export_transitions, exports
from schemas.errors import UserError
from schemas.ids import AudienceName, JobId, TenantName
from segmentation.export_jobs import ExportState


def locked_export(connection: sa.Connection, export_id: JobId) -> Mapping[Any, Any]:
    """The row of an export, locked until the transaction ends. Raises `UserError` UNKNOWN_EXPORT."""
    query = sa.select(exports).where(exports.c.export_id == export_id).with_for_update()
    row = connection.execute(query).mappings().first()
    if row is None:
        raise unknown_export(export_id)
    return row


def remember(connection: sa.Connection, export_id: JobId, state: ExportState, cause: str | None, now_ms: int) -> None:
    """Write the next line of an export's history."""
    last = sa.select(sa.func.coalesce(sa.func.max(export_transitions.c.sequence), 0)).where(
        export_transitions.c.export_id == export_id
    )
    sequence = connection.execute(last).scalar_one() + 1
    connection.execute(
        export_transitions.insert().values(
            export_id=export_id, sequence=sequence, state=state, cause=cause, at_ms=now_ms
        )
    )


def unknown_export(export_id: JobId) -> UserError:
    """The error for an id that no export has."""
    return UserError(
        "UNKNOWN_EXPORT", f"there is no export {export_id}; `muster exports list` shows them", export=export_id
    )


def export_of(row: Mapping[Any, Any]) -> Export:
    """A row of `exports`."""
    error = row["error"]
    return Export(
        export_id=JobId(row["export_id"]),
        tenant=TenantName(row["tenant"]),
        audience=AudienceName(row["audience"]),
        audience_id=None if row["audience_id"] is None else JobId(row["audience_id"]),
        state=row["state"],
        request=row["request"],
        held=tuple(Held.from_record(record) for record in row["held"]),
        topic_partitions=row["topic_partitions"],
        execution=row["execution"],
        outcome=row["outcome"],
        error=None if error is None else JobError(**error),
        failed_in=row["failed_in"],
        retry_of=None if row["retry_of"] is None else JobId(row["retry_of"]),
        created_at_ms=row["created_at_ms"],
        finished_at_ms=row["finished_at_ms"],
        swept_at_ms=row["swept_at_ms"],
    )
