"""What goes on after a request was answered: changes of the lake, and questions that take long."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, get_args

import sqlalchemy as sa

from orchestration.catalog.engine import Database
from orchestration.catalog.selected import answer_of
from orchestration.catalog.tables import async_operations as table
from orchestration.records import operations as answers
from orchestration.records.jobs import JobFault
from orchestration.records.operations import LakeChange, OperationKind, OperationState
from schemas.errors import MusterError, RetriableError, UserError
from schemas.ids import AudienceName, JobId, TenantName
from schemas.records import from_record

RECIPIENT_TEST: Final[tuple[OperationKind, ...]] = ("recipient_test",)
LAKE_CHANGES: Final[tuple[OperationKind, ...]] = get_args(LakeChange)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation of a tenant. `request`: its arguments. `error`: as `MusterError.as_record`.

    `action`: what one must be allowed to do to see it; `principal_id`: None if everyone who may sees it. While it is
    `running`, `alive_until_ms` moves on: one that has not ended by then was lost with its service.
    """

    operation_id: JobId
    tenant: TenantName
    principal_id: JobId | None = None
    kind: OperationKind
    action: str
    audience_id: JobId | None = None
    audience: AudienceName | None = None
    request: Mapping[str, Any] = field(default_factory=dict)
    state: OperationState = "pending"
    result: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    created_at_ms: int
    alive_until_ms: int | None = None
    finished_at_ms: int | None = None

    def shown(self, now_ms: int) -> answers.Operation:
        """As the service answers it."""
        vanished = self.state == "running" and (self.alive_until_ms or 0) < now_ms
        error = _lost().as_record() if vanished else self.error
        return answer_of(
            answers.Operation,
            self,
            operation=self.operation_id,
            state="failed" if vanished else self.state,
            error=None if error is None else from_record(JobFault, error),
        )


class OperationStore:
    """Operations. Every method is one transaction; outages raise `RetriableError` CATALOG_UNAVAILABLE."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, new: Operation) -> None:
        """Add an operation, unless one with its id is there."""
        key = table.c.operation_id == new.operation_id
        values = {name: getattr(new, name) for name in new.__dataclass_fields__}
        with self._database.write() as connection:
            if connection.execute(sa.select(table.c.kind).where(key)).first() is None:
                connection.execute(table.insert().values(**{**values, "request": dict(new.request)}))

    def get(self, tenant: TenantName, operation_id: JobId) -> Operation:
        """The operation of a tenant with an id. Raises `UserError` UNKNOWN_OPERATION."""
        own = (table.c.tenant == tenant) & (table.c.operation_id == operation_id)
        with self._database.read() as connection:
            row = connection.execute(sa.select(table).where(own)).mappings().first()
        if row is None:
            raise unknown_operation(operation_id)
        return Operation(**row)

    def pending(self, kinds: Collection[OperationKind]) -> list[Operation]:
        """Operations of these kinds that are to be carried out, the oldest first."""
        due = (table.c.state == "pending") & table.c.kind.in_(kinds)
        query = sa.select(table).where(due).order_by(table.c.operation_id)
        with self._database.read() as connection:
            return [Operation(**row) for row in connection.execute(query).mappings()]

    def count(self, tenant: TenantName, kind: OperationKind, *, since_ms: int) -> int:
        """How many operations of a kind began in a tenant since then."""
        begun = (table.c.tenant == tenant) & (table.c.kind == kind) & (table.c.created_at_ms > since_ms)
        with self._database.read() as connection:
            return int(connection.scalar(sa.select(sa.func.count()).select_from(table).where(begun)) or 0)

    def keep_alive(self, operation_ids: Collection[JobId], *, until_ms: int) -> None:
        """Somebody still answers them."""
        with self._database.write() as connection:
            connection.execute(
                table.update().where(table.c.operation_id.in_(operation_ids)).values(alive_until_ms=until_ms)
            )

    def finish(self, operation_id: JobId, outcome: Mapping[str, Any] | MusterError, *, now_ms: int) -> None:
        """Keep the result or the error; no effect on one that has ended."""
        ended: dict[str, Any] = (
            {"state": "failed", "error": outcome.as_record()}
            if isinstance(outcome, MusterError)
            else {"state": "done", "result": dict(outcome)}
        )
        open_ = (table.c.operation_id == operation_id) & table.c.state.in_(("pending", "running"))
        with self._database.write() as connection:
            connection.execute(table.update().where(open_).values(**ended, finished_at_ms=now_ms))

    def forget(self, before_ms: int) -> None:
        """Delete operations from before a time, except those that are still to be carried out."""
        old = (table.c.created_at_ms < before_ms) & (table.c.state != "pending")
        with self._database.write() as connection:
            connection.execute(table.delete().where(old))


def unknown_operation(operation_id: JobId) -> UserError:
    """The error for an id that no operation has, or none that one may see."""
    return UserError("UNKNOWN_OPERATION", f"there is no operation {operation_id}", operation=operation_id)


def _lost() -> RetriableError:
    return RetriableError(
        "OPERATION_LOST", "the service ended before the operation was done; start the operation again"
    )
