"""The counts that follow the work: what is wanted of each part, decided in one transaction with the work that it needs.

Whoever adds work commits it before it decides; whoever stops workers reads the wanted counts again after it has stopped
them. So of two that overlap, the later one sees the work of the other.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import sqlalchemy as sa

from orchestration.catalog.engine import Database
from orchestration.catalog.job_queries import SHOWN_KIND
from orchestration.catalog.schedules import next_due_ms
from orchestration.catalog.tables import (
    activations,
    async_operations,
    exports,
    feeds,
    jobs,
    notifications,
    schedules,
    segments,
    transitions,
    wanted_counts,
)
from orchestration.catalog.upsert import upsert
from orchestration.platform.clock import iso
from orchestration.records.workers import ScaledPart
from segmentation.export_jobs import ENDED
from segmentation.jobs import FINAL
from segmentation.scaling import LARGE_JOB, Demand, GroupDemand, Limits, Range, Scaled, Wanted, desired

APPLIED_FRESH_MS: Final = 30_000
"""A count that was applied so recently is not applied again: a thousand files at once are not a thousand calls."""
NOTED_MS: Final = 15_000
"""Times of the same count are written at this interval, or four times while a count outlasts the work: each commit
wakes the tasks of the control plane."""
NONE: Final = Range(least=0, most=0)
_LOCK: Final = 0x77616E74  # "want": the advisory lock of decisions; SQLite has one writer anyway
_MOVING: Final = ("IMPORTING", "AWAITING")
_KEEPING: Final = ("REGISTERED", "VERIFYING", *_MOVING)
"""States of a job whose rows workers are still to keep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The counts of all parts. `due`: the parts whose service may not have its count yet."""

    wanted: Mapping[Scaled, Wanted]
    due: frozenset[Scaled]

    def of(self, parts: Collection[Scaled]) -> dict[Scaled, int]:
        """The counts of some parts, in the order of `Scaled`."""
        return {part: self.wanted[part].count for part in Scaled if part in parts}


class ScalingStore:
    """Every method is one transaction; outages raise `RetriableError` CATALOG_UNAVAILABLE."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def wanted(self) -> dict[Scaled, Wanted]:
        """The counts as last decided."""
        with self._database.read() as connection:
            return _wanted(connection)

    def parts(self) -> list[ScaledPart]:
        """The counts as last decided, for people."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(wanted_counts).order_by(wanted_counts.c.part.desc())).mappings()
            return [
                ScaledPart(
                    part=row["part"],
                    wanted=row["count"],
                    given_at=None if row["applied_ms"] is None else iso(row["applied_ms"]),
                )
                for row in rows
            ]

    def decide(
        self, limits: Limits, *, lag: int | None = None, activity_lag: int | None = None, other: int = 0, now_ms: int
    ) -> Decision:
        """Decide all counts by the work of this moment; without the lag of both groups, none falls.

        `other`: work of the control plane that the catalog does not show. `applied` is expected for the parts that are
        due.
        """
        with self._database.write() as connection:
            if self._database.dialect == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            before = _wanted(connection)
            if _is_held(connection, now_ms):
                limits = replace(limits, segment_workers=NONE)
            demand = _demand(connection, lag, activity_lag, now_ms)
            after = desired(replace(demand, other=demand.other + other), before, limits, now_ms)
            noted_ms = min(NOTED_MS, limits.idle_ms // 4)
            for part, wanted in after.items():
                was = before.get(part)
                if was is None or was.count != wanted.count:
                    upsert(connection, wanted_counts, {"part": part}, {**_values(wanted), "applied_ms": None})
                elif max(wanted.worked_ms - was.worked_ms, wanted.needed_ms - was.needed_ms) >= noted_ms:
                    upsert(connection, wanted_counts, {"part": part}, _values(wanted))
            fresh = wanted_counts.c.applied_ms > now_ms - APPLIED_FRESH_MS
            applied = frozenset(map(Scaled, connection.scalars(sa.select(wanted_counts.c.part).where(fresh))))
        return Decision(wanted=after, due=frozenset(after) - applied)

    def hold_segment_workers(self, until_ms: int) -> None:
        """Want no segment worker until then, whatever the work; 0 ends this."""
        with self._database.write() as connection:
            own = wanted_counts.c.part == Scaled.SEGMENT_WORKER
            if not connection.execute(wanted_counts.update().where(own).values(held_until_ms=until_ms)).rowcount:
                row = {"part": Scaled.SEGMENT_WORKER, **_values(Wanted()), "held_until_ms": until_ms}
                connection.execute(wanted_counts.insert().values(**row))

    def applied(self, counts: Mapping[Scaled, int], *, now_ms: int) -> None:
        """Record counts that services were given. A count that was decided differently meanwhile stays due."""
        with self._database.write() as connection:
            for part, count in counts.items():
                same = (wanted_counts.c.part == part) & (wanted_counts.c.count == count)
                connection.execute(wanted_counts.update().where(same).values(applied_ms=now_ms))

    def begin(self, counts: Mapping[Scaled, int]) -> None:
        """Begin with the counts that the services have at their start, whatever was wanted before."""
        with self._database.write() as connection:
            connection.execute(wanted_counts.delete())
            for part, count in counts.items():
                upsert(connection, wanted_counts, {"part": part}, _values(Wanted(count=count)))

    def next_due_ms(self) -> int | None:
        """When a schedule or a notification is due next. None if nothing will be without new work."""
        with self._database.read() as connection:
            due = [
                next_due_ms(connection),
                connection.scalar(sa.select(sa.func.min(notifications.c.next_attempt_at_ms))),
            ]
        return min((one for one in due if one is not None), default=None)


def _wanted(connection: sa.Connection) -> dict[Scaled, Wanted]:
    columns = (wanted_counts.c.part, wanted_counts.c.count, wanted_counts.c.needed_ms, wanted_counts.c.worked_ms)
    return {
        Scaled(row.part): Wanted(count=row.count_, needed_ms=row.needed_ms, worked_ms=row.worked_ms)
        for row in connection.execute(sa.select(columns[0], columns[1].label("count_"), *columns[2:]))
    }


def _is_held(connection: sa.Connection, now_ms: int) -> bool:
    """Whether segment workers are held."""
    held = (wanted_counts.c.part == Scaled.SEGMENT_WORKER) & (wanted_counts.c.held_until_ms > now_ms)
    return connection.scalar(sa.select(wanted_counts.c.part).where(held)) is not None


def _values(wanted: Wanted) -> dict[str, int]:
    return {"count": wanted.count, "needed_ms": wanted.needed_ms, "worked_ms": wanted.worked_ms}


def _demand(connection: sa.Connection, lag: int | None, activity_lag: int | None, now_ms: int) -> Demand:
    size = sa.cast(jobs.c.source["size"].as_string(), sa.BigInteger)  # None for a snapshot
    unended = (
        sa.select(SHOWN_KIND.label("kind"), jobs.c.state, jobs.c.small, sa.func.coalesce(size, 0).label("size"))
        .where(jobs.c.state.not_in(FINAL))
        .subquery()
    )
    groups = (unended.c.kind, unended.c.state, unended.c.small)
    query = sa.select(*groups, sa.func.count().label("jobs"), sa.func.sum(unended.c.size).label("bytes")).group_by(
        *groups
    )
    live = [dict(row) for row in connection.execute(query).mappings()]

    def count(column: sa.ColumnElement[object], *where: sa.ColumnElement[bool]) -> int:
        return connection.scalar(sa.select(sa.func.count(column)).where(*where)) or 0

    return Demand(
        imports=_group([row for row in live if row["kind"] == "audience"], lag),
        activity=_group([row for row in live if row["kind"] != "audience"], activity_lag),
        segments=count(segments.c.segment_id, segments.c.state == "active"),
        feeds=count(feeds.c.feed_id, feeds.c.state == "active"),
        other=sum(row["jobs"] for row in live)
        + count(exports.c.export_id, exports.c.state.not_in(ENDED))
        + count(activations.c.sequence, activations.c.sent_at_ms.is_(None))
        + count(async_operations.c.operation_id, async_operations.c.state == "pending")
        + count(transitions.c.sequence, transitions.c.announced.is_(False))
        + count(notifications.c.notification_id, notifications.c.next_attempt_at_ms <= now_ms)
        + count(schedules.c.schedule_id, schedules.c.enabled.is_(True), schedules.c.next_due_ms <= now_ms),
    )


def _group(rows: Iterable[Mapping[str, Any]], lag: int | None) -> GroupDemand:
    """Work of the jobs that one group of workers serves."""
    own = [row for row in rows if row["state"] in _KEEPING]
    return GroupDemand(
        jobs=sum(row["jobs"] * (1 if row["small"] else LARGE_JOB) for row in own),
        size_bytes=sum(int(row["bytes"]) for row in own),
        moving=sum(row["jobs"] for row in own if row["state"] in _MOVING),
        lag=lag,
    )
