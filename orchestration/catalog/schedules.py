"""Recurring imports, exports and snapshots in the catalog: when each is due next, and the outcome of its last run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from orchestration.catalog.engine import Database
from orchestration.catalog.listing import BY_NAME, Listing
from orchestration.catalog.selected import answer_of
from orchestration.catalog.tables import duplicates, exports, jobs, schedules
from orchestration.platform.clock import iso
from orchestration.records import schedules as answers
from schemas.errors import UserError
from schemas.ids import JobId, TenantName
from schemas.job_kinds import REQUEST_KINDS, RequestKind
from segmentation.timetable import Timetable, timetable

_CHOSEN: Final = ("expression", "timezone", "enabled", "request")
"""What people choose; the rest is what the control plane has recorded."""
_RUNS: Final = (
    (jobs.c.job_id, jobs.c.job_id, jobs.c.state, jobs.c.error),
    (exports.c.export_id, exports.c.export_id, exports.c.state, exports.c.error),
    (duplicates.c.job_id, duplicates.c.twin, sa.literal("DUPLICATE"), sa.null()),
)
"""Of registered runs: their ids, then the id that is shown (of a duplicate, its original's), state and error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A recurring request. `request`: the input of its workflow, with placeholders in its address.

    `trouble`: the error record that explains why the due run cannot be started. `last_outcome`: {job}, {export} or
    {refused: error record}; None while nothing is known about the last run.
    """

    schedule_id: JobId
    tenant: TenantName
    name: str
    kind: RequestKind
    expression: str
    timezone: str
    request: Mapping[str, Any]
    enabled: bool
    created_at_ms: int
    next_due_ms: int | None
    trouble: Mapping[str, Any] | None = None
    last_due_ms: int | None = None
    last_execution: str | None = None
    last_outcome: Mapping[str, Any] | None = None

    @property
    def run(self) -> str | None:
        """The id of its last run, once it is registered."""
        return (self.last_outcome or {}).get(REQUEST_KINDS[self.kind].key)

    @property
    def times(self) -> Timetable:
        """The times when it is due."""
        return timetable(self.expression, self.timezone, self.created_at_ms)


def next_due_ms(connection: sa.Connection) -> int | None:
    """As `ScheduleStore.next_due_ms`."""
    due: int | None = connection.scalar(
        sa.select(sa.func.min(schedules.c.next_due_ms)).where(schedules.c.enabled.is_(True))
    )
    return due


class ScheduleStore:
    """Schedules. Every change is one transaction; outages raise `RetriableError` CATALOG_UNAVAILABLE."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, new: Schedule) -> None:
        """Add a schedule of a known tenant. Raises `UserError` SCHEDULE_EXISTS."""
        values = {name: getattr(new, name) for name in new.__dataclass_fields__}
        try:
            with self._database.write() as connection:
                connection.execute(schedules.insert().values(**{**values, "request": dict(new.request)}))
        except sa.exc.IntegrityError as exc:
            raise UserError(
                "SCHEDULE_EXISTS",
                f"tenant {new.tenant} already has a schedule {new.name!r}; delete it first, or use another name",
                tenant=new.tenant,
                schedule=new.name,
            ) from exc

    def get(self, tenant: TenantName, name: str) -> Schedule:
        """The schedule of that name. Raises `UserError` UNKNOWN_SCHEDULE."""
        found = self._select(schedules.c.tenant == tenant, schedules.c.name == name)
        if not found:
            raise UserError(
                "UNKNOWN_SCHEDULE",
                f"tenant {tenant} has no schedule {name!r}; `muster schedules list` shows those that exist",
                tenant=tenant,
                schedule=name,
            )
        return found[0]

    def all(self, tenant: TenantName | None = None) -> list[Schedule]:
        """All schedules [of a tenant], by tenant and name."""
        return self._select(*(() if tenant is None else (schedules.c.tenant == tenant,)))

    def page(
        self, tenant: TenantName, *, listing: Listing = BY_NAME, after: str = "", limit: int
    ) -> list[answers.Schedule]:
        """Schedules of a tenant that come after one in a list."""
        names = schedules.c.name, schedules.c.schedule_id
        own = schedules.c.tenant == tenant, listing.after(after, *names)
        return self._shown(self._select(*own, order_by=[listing.by(*names)], limit=limit))

    def count(self, tenant: TenantName, listing: Listing = BY_NAME) -> int:
        """How many schedules of a tenant a list has."""
        own = schedules.c.tenant == tenant, listing.fits(schedules.c.name)
        with self._database.read() as connection:
            return int(connection.execute(sa.select(sa.func.count()).where(*own)).scalar_one())

    def shown(self, schedule: Schedule) -> answers.Schedule:
        """A schedule with its last run."""
        return self._shown([schedule])[0]

    def due(self, now_ms: int) -> list[Schedule]:
        """Schedules that are due and not paused."""
        return self._select(schedules.c.enabled.is_(True), schedules.c.next_due_ms <= now_ms)

    def next_due_ms(self) -> int | None:
        """When the next run is due, or was if it is overdue. None if none will be."""
        with self._database.read() as connection:
            return next_due_ms(connection)

    def without_outcome(self) -> list[Schedule]:
        """Schedules whose last run has started and has no known outcome yet."""
        return self._select(schedules.c.last_due_ms.is_not(None), schedules.c.last_outcome.is_(None))

    def record_run(
        self, schedule_id: JobId, *, seen_ms: int | None, due_ms: int, execution: str, next_due_ms: int | None
    ) -> bool:
        """Record a run and the next due time, unless the schedule has changed since it was read with `seen_ms`.

        Repeating it with the same arguments is harmless.
        """
        unchanged = (schedules.c.schedule_id == schedule_id) & (schedules.c.next_due_ms.is_not_distinct_from(seen_ms))
        run = {"last_due_ms": due_ms, "last_execution": execution, "last_outcome": None, "trouble": None}
        return self._update(unchanged, next_due_ms=next_due_ms, **run)

    def record_outcome(self, schedule_id: JobId, due_ms: int, outcome: Mapping[str, Any]) -> bool:
        """Record the outcome of a run, if it is still the last one."""
        is_last = (schedules.c.schedule_id == schedule_id) & (schedules.c.last_due_ms == due_ms)
        return self._update(is_last, last_outcome=dict(outcome))

    def put_trouble(self, schedule_id: JobId, seen_ms: int | None, trouble: Mapping[str, Any]) -> bool:
        """Record why the due run cannot be started."""
        unchanged = (schedules.c.schedule_id == schedule_id) & (schedules.c.next_due_ms.is_not_distinct_from(seen_ms))
        return self._update(unchanged, trouble=dict(trouble))

    def change(self, seen: Schedule, new: Schedule) -> bool:
        """Replace what people choose of a schedule, unless someone has changed it since it was `seen`."""
        moved = {} if new.next_due_ms == seen.next_due_ms else {"next_due_ms": new.next_due_ms}
        chosen = {name: getattr(new, name) for name in _CHOSEN}
        return self._of_seen(seen, schedules.update().values(**chosen, trouble=None, **moved))

    def delete(self, seen: Schedule) -> bool:
        """Delete a schedule as `change` does; what its runs have produced stays."""
        return self._of_seen(seen, schedules.delete())

    def _of_seen(self, seen: Schedule, change: sa.Update | sa.Delete) -> bool:
        mine = schedules.c.schedule_id == seen.schedule_id
        with self._database.write() as connection:
            row = connection.execute(sa.select(schedules).where(mine).with_for_update()).mappings().one_or_none()
            if row is None or any(row[name] != getattr(seen, name) for name in _CHOSEN):
                return False
            connection.execute(change.where(mine))
        return True

    def _select(
        self,
        *where: sa.ColumnElement[bool],
        order_by: Sequence[sa.ColumnElement[Any]] = (schedules.c.tenant, schedules.c.name),
        limit: int | None = None,
    ) -> list[Schedule]:
        query = sa.select(schedules).where(*where).order_by(*order_by).limit(limit)
        with self._database.read() as connection:
            return [Schedule(**row) for row in connection.execute(query).mappings()]

    def _shown(self, found: Sequence[Schedule]) -> list[answers.Schedule]:
        ids = [one.run for one in found if one.run is not None]
        queries = [sa.select(*columns).where(columns[0].in_(ids)) for columns in _RUNS] if ids else []
        with self._database.read() as connection:
            runs = {run: shown for query in queries for run, *shown in connection.execute(query)}
        return [
            answer_of(
                answers.Schedule,
                one,
                schedule=one.schedule_id,
                last=_last(one, runs),
                **({} if one.enabled else {"next_due": None}),
            )
            for one in found
        ]

    def _update(self, where: sa.ColumnElement[bool], **values: Any) -> bool:
        with self._database.write() as connection:
            return connection.execute(schedules.update().where(where).values(**values)).rowcount > 0


def _last(schedule: Schedule, runs: Mapping[str, Sequence[Any]]) -> Mapping[str, Any] | None:
    """{due, execution, state, job or export, error} of the last run.

    The state is that of its job or export, or else STARTED, REFUSED, or DUPLICATE if there was nothing new to import.
    """
    if schedule.last_due_ms is None:
        return None
    if (refusal := (schedule.last_outcome or {}).get("refused")) is not None:
        job, state, error = None, "REFUSED", refusal
    else:
        job, state, error = runs.get(schedule.run or "", (None, "STARTED", None))
    return {
        "due": iso(schedule.last_due_ms),
        "execution": schedule.last_execution,
        "state": state,
        REQUEST_KINDS[schedule.kind].key: job,
        "error": error,
    }
