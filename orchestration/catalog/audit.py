"""The audit trail: who did what to what and when, with the state before and after. Append only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from orchestration.catalog.engine import Database
from orchestration.catalog.selected import columns_of
from orchestration.catalog.tables import audit
from orchestration.records import audit as answers
from schemas.ids import JobId, TenantName


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One action. `error`: its code.

    `actor`: an OS user, a name given with --as, an S3 requester, a part of Muster, the name of a principal.

    `principal`, `token` or `session`, and `request_id` are those of a call to the service; None for all other actions.
    `tenant` is None for actions on the deployment, and in entries of earlier releases.
    """

    entry_id: JobId
    at_ms: int
    actor: str
    action: str
    object: str
    job_id: JobId | None = None
    arguments: Mapping[str, Any]
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    error: str | None = None
    tenant: str | None = None
    principal: str | None = None
    token: str | None = None
    request_id: str | None = None
    session: str | None = None


_SHOWN: Final = columns_of(answers.AuditEntry, audit, entry=audit.c.entry_id, job=audit.c.job_id)


class AuditTrail:
    """Every method is one transaction; outages raise `RetriableError` CATALOG_UNAVAILABLE."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, entry: AuditEntry) -> None:
        """Append an entry, permanently."""
        values = {name: getattr(entry, name) for name in entry.__dataclass_fields__}
        for name, column in audit.c.items():
            if isinstance(column.type, sa.String) and column.type.length and values[name] is not None:
                values[name] = str(values[name])[: column.type.length]
        with self._database.write() as connection:
            connection.execute(audit.insert().values(**values))

    def page(
        self,
        tenant: TenantName | None,
        *,
        object_: str | None = None,
        job_id: str | None = None,
        since_ms: int = 0,
        before: JobId | None = None,
        limit: int,
    ) -> list[answers.AuditEntry]:
        """Entries of a tenant, or all (None), newest first. `before`: only those older than that entry."""
        query = sa.select(*_SHOWN).where(audit.c.at_ms >= since_ms)
        if tenant is not None:
            query = query.where(audit.c.tenant == tenant)
        if object_ is not None:
            query = query.where(audit.c.object == object_)
        if job_id is not None:
            query = query.where(audit.c.job_id == job_id)
        if before is not None:
            query = query.where(audit.c.entry_id < before)
        query = query.order_by(audit.c.entry_id.desc()).limit(limit)
        with self._database.read() as connection:
            return [answers.AuditEntry(**row) for row in connection.execute(query).mappings()]

    def search(
        self, *, object_: str | None = None, job_id: str | None = None, since_ms: int = 0, limit: int = 1000
    ) -> list[AuditEntry]:
        """The newest entries, in chronological order."""
        query = sa.select(audit).where(audit.c.at_ms >= since_ms)
        if object_ is not None:
            query = query.where(audit.c.object == object_)
        if job_id is not None:
            query = query.where(audit.c.job_id == job_id)
        query = query.order_by(audit.c.at_ms.desc(), audit.c.entry_id.desc()).limit(limit)
        with self._database.read() as connection:
            return [AuditEntry(**row) for row in connection.execute(query).mappings()][::-1]
