"""Audiences that jobs update regularly, and their newest versions: series for monitoring, of bounded number."""

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from orchestration.catalog.tables import audiences, jobs
from schemas.ids import new_job_id

WINDOW_MS: Final = 7 * 24 * 60 * 60 * 1000
VERSIONS: Final = 3
"""Published within the window, from which on an audience counts as updated regularly."""
MOST: Final = 200
"""Audiences with series of their own: those that were updated the longest time ago, since they are of interest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegularAudience:
    """The newest version of an audience. `rejected`: rows of its files; None where it has no files."""

    tenant: str
    audience: str
    published_at_ms: int
    members: int
    rejected: int | None


def regular_audiences(connection: sa.Connection, now_ms: int) -> list[RegularAudience]:
    """The audiences whose newest version is the oldest, `MOST` of them."""
    first = new_job_id(max(0, now_ms - WINDOW_MS), bytes(10))  # ids begin with their time
    recent = (
        sa.select(jobs.c.audience_id, sa.func.max(jobs.c.job_id).label("newest"))
        .where(jobs.c.job_id >= first, jobs.c.state == "READY", jobs.c.audience_id.is_not(None))
        .group_by(jobs.c.audience_id)
        .having(sa.func.count() >= VERSIONS)
        .order_by(sa.func.max(jobs.c.job_id))
        .limit(MOST)
        .subquery()
    )
    found = (
        sa.select(
            audiences.c.tenant,
            audiences.c.name,
            jobs.c.finished_at_ms,
            _count(jobs.c.outcome["members"]),
            _count(jobs.c.evidence["rejected"]),
        )
        .select_from(recent)
        .join(jobs, jobs.c.job_id == recent.c.newest)
        .join(audiences, audiences.c.audience_id == recent.c.audience_id)
        .order_by(recent.c.newest)
    )
    return [
        RegularAudience(tenant=row[0], audience=row[1], published_at_ms=row[2], members=row[3] or 0, rejected=row[4])
        for row in connection.execute(found)
    ]


def _count(member: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    """PostgreSQL's INTEGER ends at two billion."""
    return sa.cast(member.as_string(), sa.BigInteger)
