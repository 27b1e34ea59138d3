"""Common to all kinds of jobs in the catalog: guarded state changes, each with a line of history."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence, Set
from functools import cache
from types import MappingProxyType
from typing import Any, ClassVar, Final, Generic, TypeVar

import sqlalchemy as sa

from orchestration.catalog.engine import Database
from orchestration.catalog.job_filters import ALL_JOBS, JobFilter
from orchestration.catalog.records import Export, Job, JobError
from schemas.errors import UserError
from schemas.ids import JobId
from schemas.messages import JobState
from schemas.records import as_record
from segmentation.export_jobs import ExportState
from segmentation.life_cycle import Change, LifeCycle

Row = Mapping[Any, Any]
Tenants = str | Collection[str] | None
"""Limits a query to a tenant, or to several; None does not limit it."""
RecordT = TypeVar("RecordT", Job, Export)
StateT = TypeVar("StateT", JobState, ExportState)
REGISTERED: Final = "REGISTERED"
FAILED: Final[Any] = "FAILED"
"""States that every life cycle has."""
JOB_ID: Final = sa.bindparam("wanted_job_id", type_=sa.String)
"""The job of a statement that is built once: to build one takes SQLAlchemy twice as long as to run it."""


def of_job(job_id: JobId) -> dict[str, JobId]:
    """The parameters of a statement about `JOB_ID`."""
    return {JOB_ID.key: job_id}


class JobTable:
    """One kind of job: its rows, and the history of their states. The only writer of `jobs`.

    `key` and `history_key` are the columns of job ids.
    """

    def __init__(self, jobs: sa.Table, key: sa.Column[Any], history: sa.Table, history_key: sa.Column[Any]) -> None:
        self._jobs = jobs
        self._key = key
        self._history_key = history_key
        self._last = sa.select(sa.func.coalesce(sa.func.max(history.c.sequence), 0)).where(history_key == JOB_ID)
        self._append = history.insert()

    def register(
        self,
        connection: sa.Connection,
        values: Row,
        *,
        now_ms: int,
        refused: JobError | None,
        first: str = REGISTERED,
        line: Row = MappingProxyType({}),
    ) -> None:
        """Insert a job in its first state, or FAILED if it was refused.

        `line`: history columns that only this kind has.
        """
        state: dict[str, Any] = {"state": first}
        if refused is not None:
            error = as_record(refused)
            state = {"state": FAILED, "failed_in": first, "error": error, "finished_at_ms": now_ms}
        connection.execute(self._jobs.insert().values(**values, created_at_ms=now_ms, **state))
        self.append(connection, values[self._key.name], first, None, now_ms, **line)
        if refused is not None:
            self.append(connection, values[self._key.name], FAILED, refused.summary, now_ms, **line)

    def enter(
        self,
        connection: sa.Connection,
        job_id: JobId,
        state: str,
        cause: str | None,
        now_ms: int,
        *,
        values: Row,
        line: Row,
    ) -> None:
        """Change the state of a job whose row the caller has locked; `values` are columns set with it."""
        self.set(connection, job_id, state=state, **values)
        self.append(connection, job_id, state, cause, now_ms, **line)

    def set(self, connection: sa.Connection, job_id: JobId, **values: Any) -> None:
        """Set columns of a job."""
        connection.execute(self._jobs.update().where(self._key == job_id).values(**values))

    def append(
        self, connection: sa.Connection, job_id: JobId, state: str, cause: str | None, now_ms: int, **line: object
    ) -> None:
        """Append a line to the history."""
        sequence = connection.execute(self._last, of_job(job_id)).scalar_one() + 1
        values = {self._history_key.name: job_id, "sequence": sequence, "state": state, "cause": cause, "at_ms": now_ms}
        connection.execute(self._append, values | line)


class LifeCycleStore(ABC, Generic[RecordT, StateT]):
    """Jobs of one table. Every method is one transaction; outages raise `RetriableError` CATALOG_UNAVAILABLE.

    A call that timed out may have taken effect: repeating it with the same arguments is harmless.
    """

    life_cycle: ClassVar[LifeCycle[Any]]
    _table: ClassVar[sa.Table]
    _key: ClassVar[sa.Column[Any]]
    _rows: ClassVar[JobTable]
    _kind: ClassVar[sa.ColumnElement[str]]
    """The kind that people see."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @staticmethod
    @abstractmethod
    def _record(row: Row) -> RecordT:
        """Convert a row to a record."""

    @staticmethod
    @abstractmethod
    def _unknown(job_id: JobId) -> UserError:
        """The error for an unknown job id."""

    @staticmethod
    def _history_columns(row: Row) -> Mapping[str, object]:  # noqa: ARG004  # for those that have some
        """History columns that only this kind has, for a change of the job in `row`."""
        return {}

    def get(self, job_id: JobId) -> RecordT:
        """One job. Raises `UserError` UNKNOWN_JOB or UNKNOWN_EXPORT."""
        if (found := self.find(job_id)) is None:
            raise self._unknown(job_id)
        return found

    def find(self, job_id: JobId, *, tenant: Tenants = None) -> RecordT | None:
        """One job [of a tenant], or None."""
        found = next(iter(self._read(self._by_id(), of_job(job_id))), None)
        return None if found is None or not _belongs(found.tenant, tenant) else found

    @classmethod
    @cache
    def _by_id(cls) -> sa.Select[Any]:
        """The query of `find`."""
        return sa.select(cls._table).where(cls._key == JOB_ID)

    @classmethod
    @cache
    def _by_id_locked(cls) -> sa.Select[Any]:
        return sa.select(cls._table).where(cls._key == JOB_ID).with_for_update()

    def by_execution(self, execution: str) -> RecordT | None:
        """The job that an execution has registered or taken over, or None."""
        return next(iter(self._select(self._table.c.execution == execution, limit=1)), None)

    def live(self) -> list[RecordT]:
        """All jobs that are not final, oldest first."""
        return self._read(self._live())

    @classmethod
    @cache
    def _live(cls) -> sa.Select[Any]:
        """The query of `live`."""
        return sa.select(cls._table).where(cls._table.c.state.not_in(cls.life_cycle.final)).order_by(cls._key)

    def search(
        self,
        *,
        tenant: Tenants = None,
        audience: str | None = None,
        states: Sequence[StateT] = (),
        kinds: Collection[str] = (),
        before: JobId | None = None,
        begins: str | None = None,
        narrowed: JobFilter = ALL_JOBS,
        limit: int = 100,
    ) -> list[RecordT]:
        """Newest jobs first. `kinds`: as people see them; all if empty. `before`: only those older than that job.

        `begins`: how their ids begin.
        """
        where = self._fitting(tenant, audience, states, kinds, narrowed)
        if before is not None:
            where.append(self._key < before)
        if begins is not None:
            where.append(self._key.startswith(begins, autoescape=True))
        return self._select(*where, order_by=self._key.desc(), limit=limit)

    def count(
        self,
        *,
        tenant: Tenants = None,
        audience: str | None = None,
        states: Sequence[StateT] = (),
        kinds: Collection[str] = (),
        narrowed: JobFilter = ALL_JOBS,
        most: int,
    ) -> int:
        """How many jobs `search` finds; at most `most` are counted."""
        found = sa.select(self._key).where(*self._fitting(tenant, audience, states, kinds, narrowed)).limit(most)
        with self._database.read() as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(found.subquery())).scalar_one())

    def _fitting(
        self,
        tenant: Tenants,
        audience: str | None,
        states: Sequence[StateT],
        kinds: Collection[str],
        narrowed: JobFilter,
    ) -> list[sa.ColumnElement[bool]]:
        where = [*self._of(tenant), *narrowed.where(self._table, self._key)]
        if audience is not None:
            where.append(self._table.c.audience == audience)
        if states:
            where.append(self._table.c.state.in_(states))
        if kinds:
            where.append(self._kind.in_(kinds))
        return where

    def stamps(self, tenant: Tenants, *, limit: int) -> dict[JobId, tuple[str, int | None]]:
        """State and time of the end of the newest jobs [of a tenant]; a job without the latter still changes."""
        table = self._table
        query = sa.select(self._key, table.c.state, table.c.finished_at_ms).where(*self._of(tenant))
        with self._database.read() as connection:
            found = connection.execute(query.order_by(self._key.desc()).limit(limit))
            return {JobId(job_id): (state, finished_at_ms) for job_id, state, finished_at_ms in found}

    def move(
        self,
        job_id: JobId,
        to: StateT,
        *,
        now_ms: int,
        cause: str | None = None,
        only_from: Set[StateT] | None = None,
        expecting: Mapping[str, Any] | None = None,
        **values: Any,
    ) -> tuple[Change, RecordT]:
        """Change the state of a job if its life cycle allows it; `values` are columns set with it.

        `only_from`: refuse from any other state, so that a late caller cannot drag the job back. `expecting`: refuse if
        a column is not what the caller saw (its attempt, its build). Returns the verdict, and the job afterwards. A
        final state stamps `finished_at_ms`.
        """
        with self._database.write() as connection:
            row = self._locked(connection, job_id)
            verdict = self.life_cycle.change(row["state"], to)
            if verdict is Change.APPLIED and only_from is not None and row["state"] not in only_from:
                verdict = Change.REFUSED
            if any(row[name] != seen for name, seen in (expecting or {}).items()):
                verdict = Change.REFUSED
            if verdict is Change.APPLIED:
                if to in self.life_cycle.final:
                    values["finished_at_ms"] = now_ms
                line = self._history_columns(row)
                self._rows.enter(connection, job_id, to, cause, now_ms, values=values, line=line)
            return verdict, self._record(self._locked(connection, job_id))

    def fail(self, job_id: JobId, error: JobError, *, now_ms: int, uncommitted: bool = False) -> tuple[Change, RecordT]:
        """End a running job in FAILED, with its cause.

        A job that can no longer be cancelled may have committed already: it only rolls forward, unless the caller knows
        that it is `uncommitted` (its commit was refused).
        """
        job = self.get(job_id)
        return self.move(
            job.job_id,
            FAILED,
            now_ms=now_ms,
            cause=error.summary,
            only_from=None if uncommitted else self.life_cycle.cancellable,
            error=as_record(error),
            failed_in=job.state,
        )

    def adopt(self, job_id: JobId, *, previous: str | None, execution: str) -> bool:
        """Assign a live job to `execution`, if it still belongs to its `previous` execution."""
        with self._database.write() as connection:
            row = self._locked(connection, job_id)
            if row["execution"] != previous or row["state"] in self.life_cycle.final:
                return False
            self._rows.set(connection, job_id, execution=execution)
            return True

    def put(self, job_id: JobId, **values: Any) -> None:
        """Set columns of a job without a state change."""
        with self._database.write() as connection:
            self._rows.set(connection, job_id, **values)

    def _of(self, tenant: Tenants) -> tuple[sa.ColumnElement[bool], ...]:
        """The condition that a job belongs to a tenant, or to one of several; none if it is None."""
        if tenant is None:
            return ()
        return (self._table.c.tenant == tenant if isinstance(tenant, str) else self._table.c.tenant.in_(tenant),)

    def _locked(self, connection: sa.Connection, job_id: JobId) -> Row:
        """The row of a job, locked until the transaction ends. Raises as `get`."""
        row = connection.execute(self._by_id_locked(), of_job(job_id)).mappings().first()
        if row is None:
            raise self._unknown(job_id)
        return row

    def _select(
        self,
        *where: sa.ColumnElement[bool],
        order_by: sa.ColumnElement[Any] | None = None,
        limit: int | None = None,
    ) -> list[RecordT]:
        query = sa.select(self._table).where(*where).order_by(self._key if order_by is None else order_by).limit(limit)
        return self._read(query)

    def _read(self, query: sa.Select[Any], parameters: Mapping[str, object] | None = None) -> list[RecordT]:
        with self._database.read() as connection:
            return [self._record(row) for row in connection.execute(query, parameters).mappings()]


def _belongs(to: str, tenant: Tenants) -> bool:
    """Whether a job of tenant `to` is within the limit."""
    return tenant is None or (to == tenant if isinstance(tenant, str) else to in tenant)
