"""Which jobs a list shows, besides their audience, kind and state."""

from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from orchestration.catalog.tables import audit
from schemas.ids import JobId

STARTS: Final = (
    "import",
    "audiences add",
    "audiences remove",
    "export",
    "jobs retry",
    "schedules run",
    "segments snapshot",
)
"""Actions of the audit trail that start a job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """`part`: of the audience's name or of the job's id. `since_ms`, `until_ms`: of the registration.

    Who started it, by hand: `started_by`, a part of the name, or `principal`.
    """

    part: str = ""
    since_ms: int | None = None
    until_ms: int | None = None
    started_by: str = ""
    principal: JobId | None = None

    def where(self, table: sa.Table, key: sa.ColumnElement[str]) -> list[sa.ColumnElement[bool]]:
        """The conditions for the rows of a table of jobs."""
        found: list[sa.ColumnElement[bool]] = []
        if self.part:
            fits = (table.c.audience.icontains(self.part, autoescape=True), key.icontains(self.part, autoescape=True))
            found.append(sa.or_(*fits))
        if self.since_ms is not None:
            found.append(table.c.created_at_ms >= self.since_ms)
        if self.until_ms is not None:
            found.append(table.c.created_at_ms < self.until_ms)
        if self.started_by or self.principal is not None:
            found.append(key.in_(self._started()))
        return found

    def _started(self) -> sa.Select[tuple[str]]:
        query = sa.select(audit.c.job_id).where(audit.c.action.in_(STARTS), audit.c.job_id.is_not(None))
        if self.started_by:
            query = query.where(audit.c.actor.icontains(self.started_by, autoescape=True))
        return query if self.principal is None else query.where(audit.c.principal == self.principal)


ALL_JOBS: Final = JobFilter()
