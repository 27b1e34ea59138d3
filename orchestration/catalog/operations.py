"""Changes of the lake that the service was asked for, and what has come of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from orchestration.catalog.engine import Database
from orchestration.catalog.tables import async_operations
from schemas.errors import UserError
from schemas.ids import AudienceName, JobId, TenantName

OperationKind = Literal["rollback", "expire", "rename", "delete"]
OperationState = Literal["pending", "done", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One change of an audience. `request`: its arguments. `error`: as `MusterError.as_record`."""

    operation_id: JobId
    tenant: TenantName
    kind: OperationKind
    audience_id: JobId
    audience: AudienceName
    request: Mapping[str, Any]
    state: OperationState = "pending"
    result: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    created_at_ms: int
    finished_at_ms: int | None = None


class OperationStore:
    """Operations. Every method is one transaction; outages raise `RetriableError` CATALOG_UNAVAILABLE."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, new: Operation) -> None:
        """Add an operation, unless one with its id is there."""
        key = async_operations.c.operation_id == new.operation_id
        values = {name: getattr(new, name) for name in new.__dataclass_fields__}
        with self._database.write() as connection:
            if connection.execute(sa.select(async_operations.c.kind).where(key)).first() is None:
                connection.execute(async_operations.insert().values(**{**values, "request": dict(new.request)}))

    def get(self, tenant: TenantName, operation_id: JobId) -> Operation:
        """The operation of a tenant with an id. Raises `UserError` UNKNOWN_OPERATION."""
        own = (async_operations.c.tenant == tenant) & (async_operations.c.operation_id == operation_id)
        with self._database.read() as connection:
            row = connection.execute(sa.select(async_operations).where(own)).mappings().first()
        if row is None:
            raise UserError("UNKNOWN_OPERATION", f"there is no operation {operation_id}", operation=operation_id)
        return Operation(**row)

    def pending(self) -> list[Operation]:
        """Operations that are to be carried out, the oldest first."""
        query = sa.select(async_operations).where(async_operations.c.state == "pending")
        with self._database.read() as connection:
            found = connection.execute(query.order_by(async_operations.c.operation_id)).mappings()
            return [Operation(**row) for row in found]

    def finish(self, operation_id: JobId, result: Mapping[str, Any], *, now_ms: int) -> None:
        """Note that an operation is done."""
        self._end(operation_id, state="done", result=dict(result), finished_at_ms=now_ms)

    def fail(self, operation_id: JobId, error: Mapping[str, Any], *, now_ms: int) -> None:
        """Note that an operation was refused."""
        self._end(operation_id, state="failed", error=dict(error), finished_at_ms=now_ms)

    def forget(self, before_ms: int) -> None:
        """Delete operations that ended before a time."""
        with self._database.write() as connection:
            connection.execute(async_operations.delete().where(async_operations.c.finished_at_ms < before_ms))

    def _end(self, operation_id: JobId, **values: Any) -> None:
        pending = (async_operations.c.operation_id == operation_id) & (async_operations.c.state == "pending")
        with self._database.write() as connection:
            connection.execute(async_operations.update().where(pending).values(**values))
