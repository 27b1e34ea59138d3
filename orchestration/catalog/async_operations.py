"""Operations that go on after their request was answered, until their result is fetched."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import sqlalchemy as sa

from orchestration.catalog.engine import Database
from orchestration.catalog.tables import async_operations as table
from schemas.errors import MusterError, UserError
from schemas.ids import JobId, TenantName

KEPT_MS: Final = 24 * 3600 * 1000
OperationState = Literal["running", "done", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncOperation:
    """One operation. `action`: what its principal must be allowed to do, also to see the result.

    While it runs, `alive_until_ms` moves on; one that has not ended by then was lost with its service.
    """

    operation_id: JobId
    tenant: TenantName | None
    principal_id: JobId
    kind: str
    action: str
    state: OperationState = "running"
    result: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    created_at_ms: int
    alive_until_ms: int
    finished_at_ms: int | None = None


class OperationStore:
    """Operations. Every method is one transaction; outages raise `RetriableError` CATALOG_UNAVAILABLE."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, new: AsyncOperation) -> None:
        """Add an operation, and remove those of yesterday."""
        with self._database.write() as connection:
            connection.execute(table.delete().where(table.c.created_at_ms < new.created_at_ms - KEPT_MS))
            connection.execute(table.insert().values(**{name: getattr(new, name) for name in new.__dataclass_fields__}))

    def get(self, operation_id: JobId, *, tenant: TenantName | None, principal_id: JobId) -> AsyncOperation:
        """An operation of a principal in a tenant, or in the deployment. Raises `UserError` UNKNOWN_OPERATION."""
        same_tenant = table.c.tenant.is_(None) if tenant is None else table.c.tenant == tenant
        query = sa.select(table).where(
            table.c.operation_id == operation_id, table.c.principal_id == principal_id, same_tenant
        )
        with self._database.read() as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            raise UserError(
                "UNKNOWN_OPERATION",
                f"there is no operation {operation_id} of yours; results are kept for a day",
                operation=operation_id,
            )
        return AsyncOperation(**row)

    def keep_alive(self, operation_ids: Collection[JobId], *, until_ms: int) -> None:
        """Somebody still works on them."""
        with self._database.write() as connection:
            connection.execute(
                table.update().where(table.c.operation_id.in_(operation_ids)).values(alive_until_ms=until_ms)
            )

    def finish(self, operation_id: JobId, outcome: Mapping[str, Any] | MusterError, *, now_ms: int) -> None:
        """Keep the result or the error."""
        ended: dict[str, Any] = (
            {"state": "failed", "error": outcome.as_record()}
            if isinstance(outcome, MusterError)
            else {"state": "done", "result": dict(outcome)}
        )
        with self._database.write() as connection:
            connection.execute(
                table.update().where(table.c.operation_id == operation_id).values(**ended, finished_at_ms=now_ms)
            )
