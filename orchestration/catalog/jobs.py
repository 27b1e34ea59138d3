"""Jobs in the catalog: registration, guarded state changes, attempts, history."""

from collections.abc import Mapping, Sequence, Set
from typing import Any

import sqlalchemy as sa

from orchestration.catalog.engine import Database
from orchestration.catalog.records import Job, JobError, NewJob, Transition
from orchestration.catalog.tables import attempts, claims, duplicates, jobs, receipts, transitions
from schemas.columns import ImportSpec
from schemas.errors import FatalError, UserError
from schemas.ids import Attempt, AudienceName, JobId, TenantName
from schemas.messages import JobState
from segmentation.jobs import FINAL, STATES, Change, change

_GIVES_UP_ITS_CLAIM = frozenset({"FAILED", "CANCELLED", "SUPERSEDED"})


class JobStore:
    """Jobs and their history. Every method is one transaction; outages raise `RetriableError` CATALOG_UNAVAILABLE.

    A call that timed out may have happened: repeating any of these with the same arguments is harmless.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def register(self, new: NewJob, *, again: bool = False, refused: JobError | None = None) -> JobId:
        """Register a job and return the id of the job that is to run: its own, or that of its live or READY twin.

        The twin has the same `dedupe_key`. With `again` there is no twin. A `refused` job is FAILED from the start.
        """
        try:
            return self._register(new, again=again, refused=refused)
        except sa.exc.IntegrityError:  # another process claimed the key between our look and our insert
            return self._register(new, again=again, refused=refused)

    def _register(self, new: NewJob, *, again: bool, refused: JobError | None) -> JobId:
        with self._database.write() as connection:
            if connection.execute(sa.select(jobs.c.job_id).where(jobs.c.job_id == new.job_id)).first() is not None:
                return new.job_id
            holder = self._claim_holder(connection, new.dedupe_key)
            if not again and holder is not None and holder[1] not in _GIVES_UP_ITS_CLAIM:
                twin = holder[0]
                if connection.execute(sa.select(duplicates).where(duplicates.c.job_id == new.job_id)).first() is None:
                    connection.execute(
                        duplicates.insert().values(job_id=new.job_id, twin=twin, created_at_ms=new.created_at_ms)
                    )
                return twin
            connection.execute(
                jobs.insert().values(
                    job_id=new.job_id,
                    tenant=new.tenant[:255],
                    audience=new.audience[:255],
                    audience_id=new.audience_id,
                    state="REGISTERED",
                    attempt=0,
                    mode=new.mode,
                    partitions=new.partitions,
                    spec=new.spec.as_record(),
                    source=dict(new.source),
                    small=new.small,
                    order_key=new.order_key,
                    dedupe_key=new.dedupe_key,
                    execution=new.execution,
                    retry_of=new.retry_of,
                    created_at_ms=new.created_at_ms,
                )
            )
            self._append(connection, new.job_id, "REGISTERED", Attempt(0), None, new.created_at_ms)
            if refused is not None:
                connection.execute(
                    jobs.update()
                    .where(jobs.c.job_id == new.job_id)
                    .values(
                        state="FAILED",
                        failed_in="REGISTERED",
                        error=refused.as_record(),
                        finished_at_ms=new.created_at_ms,
                    )
                )
                self._append(connection, new.job_id, "FAILED", Attempt(0), refused.summary, new.created_at_ms)
            if holder is None:
                connection.execute(claims.insert().values(dedupe_key=new.dedupe_key, job_id=new.job_id))
            else:  # its row is locked since we looked, so nobody else takes it over
                connection.execute(
                    claims.update().where(claims.c.dedupe_key == new.dedupe_key).values(job_id=new.job_id)
                )
            return new.job_id

    @staticmethod
    def _claim_holder(connection: sa.Connection, dedupe_key: str) -> tuple[JobId, JobState] | None:
        """The job that holds the claim on an object, and its state; its row is locked until the transaction ends."""
        holder = connection.execute(
            sa.select(jobs.c.job_id, jobs.c.state)
            .join(claims, claims.c.job_id == jobs.c.job_id)
            .where(claims.c.dedupe_key == dedupe_key)
            .with_for_update()
        ).first()
        return None if holder is None else (JobId(holder.job_id), holder.state)

    def get(self, job_id: JobId) -> Job:
        """The job, or its twin when it was a duplicate. Raises `UserError` UNKNOWN_JOB."""
        if (job := self.find(job_id)) is None:
            raise UserError("UNKNOWN_JOB", f"there is no job {job_id}; `muster jobs list` shows them", job=job_id)
        return job

    def find(self, job_id: JobId) -> Job | None:
        """The job, or its twin when it was a duplicate, or none."""
        twin = sa.select(duplicates.c.twin).where(duplicates.c.job_id == job_id).scalar_subquery()
        query = sa.select(jobs).where(jobs.c.job_id == sa.func.coalesce(twin, job_id))
        with self._database.read() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else _job(row)

    def search(
        self,
        *,
        tenant: str | None = None,
        audience: str | None = None,
        states: Sequence[JobState] = (),
        limit: int = 100,
    ) -> list[Job]:
        """Newest jobs first."""
        query = sa.select(jobs).order_by(jobs.c.job_id.desc()).limit(limit)
        if tenant is not None:
            query = query.where(jobs.c.tenant == tenant)
        if audience is not None:
            query = query.where(jobs.c.audience == audience)
        if states:
            query = query.where(jobs.c.state.in_(states))
        with self._database.read() as connection:
            return [_job(row) for row in connection.execute(query).mappings()]

    def live(self) -> list[Job]:
        """All jobs that are not final, oldest first."""
        query = sa.select(jobs).where(jobs.c.state.not_in(FINAL)).order_by(jobs.c.job_id)
        with self._database.read() as connection:
            return [_job(row) for row in connection.execute(query).mappings()]

    def move(
        self,
        job_id: JobId,
        to: JobState,
        *,
        now_ms: int,
        cause: str | None = None,
        only_from: Set[JobState] | None = None,
        expecting: Mapping[str, Any] | None = None,
        **values: Any,
    ) -> tuple[Change, Job]:
        """Change the state of a job if the table of states allows it; `values` are columns set with it.

        `only_from`: refused from any other state; who comes late must not drag the job back. `expecting`: refused when
        a column is not what the caller saw (its attempt, its build). Returns what became of it, and the job afterwards.
        A final state stamps `finished_at_ms`.
        """
        with self._database.write() as connection:
            row = self._locked(connection, job_id)
            verdict = change(row["state"], to)
            if verdict is Change.APPLIED and only_from is not None and row["state"] not in only_from:
                verdict = Change.REFUSED
            if any(row[name] != seen for name, seen in (expecting or {}).items()):
                verdict = Change.REFUSED
            if verdict is Change.APPLIED:
                if to in FINAL:
                    values["finished_at_ms"] = now_ms
                connection.execute(jobs.update().where(jobs.c.job_id == job_id).values(state=to, **values))
                self._append(connection, job_id, to, Attempt(row["attempt"]), cause, now_ms)
            return verdict, _job(self._locked(connection, job_id))

    def fail(self, job_id: JobId, error: JobError, *, now_ms: int, unpublished: bool = False) -> tuple[Change, Job]:
        """End a job in FAILED with its cause, if it is still running.

        A job that is PUBLISHING may have a version already: it only rolls forward, unless the caller knows that it was
        `unpublished` (the publish was refused before its commit).
        """
        job = self.get(job_id)
        running = {state for state in STATES if state not in FINAL}
        return self.move(
            job.job_id,
            "FAILED",
            now_ms=now_ms,
            cause=error.summary,
            only_from=running if unpublished else running - {"PUBLISHING"},
            error=error.as_record(),
            failed_in=job.state,
        )

    def adopt(self, job_id: JobId, *, gone: str | None, execution: str) -> bool:
        """Make `execution` the one that a live job belongs to, if it still belongs to the one that is `gone`."""
        with self._database.write() as connection:
            row = self._locked(connection, job_id)
            if row["execution"] != gone or row["state"] in FINAL:
                return False
            connection.execute(jobs.update().where(jobs.c.job_id == job_id).values(execution=execution))
            return True

    def of_execution(self, execution: str) -> Job | None:
        """The job that an execution has registered or taken over, or none."""
        query = sa.select(jobs).where(jobs.c.execution == execution).limit(1)
        with self._database.read() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else _job(row)

    def sequencer(self, audience_id: JobId, bucket: str, key: str, version_id: str | None) -> str:
        """The S3 sequencer with which an object came to an audience before; empty when it is not known."""
        source = jobs.c.source
        query = (
            sa.select(source)
            .where(
                jobs.c.audience_id == audience_id,
                source["bucket"].as_string() == bucket,
                source["key"].as_string() == key,
            )
            .order_by(jobs.c.job_id.desc())
        )
        with self._database.read() as connection:
            for known in connection.scalars(query):
                if known.get("version_id") == version_id and known.get("sequencer"):
                    return str(known["sequencer"])
        return ""

    def start_attempt(self, job_id: JobId, *, after: Attempt, now_ms: int) -> Attempt:
        """Begin attempt `after` + 1: a compare-and-swap that is allowed only in state IMPORTING.

        Raises `FatalError` ATTEMPT_SUPERSEDED when the job is elsewhere or another attempt has begun.
        """
        attempt = Attempt(after + 1)
        with self._database.write() as connection:
            row = self._locked(connection, job_id)
            if row["state"] != "IMPORTING" or row["attempt"] != after:
                raise FatalError(
                    "ATTEMPT_SUPERSEDED",
                    f"job {job_id} is {row['state']} in attempt {row['attempt']}; attempt {attempt} may not begin",
                    job=job_id,
                    state=row["state"],
                    attempt=row["attempt"],
                )
            connection.execute(jobs.update().where(jobs.c.job_id == job_id).values(attempt=attempt))
            connection.execute(attempts.insert().values(job_id=job_id, attempt=attempt, started_at_ms=now_ms))
            self._append(connection, job_id, "IMPORTING", attempt, f"attempt {attempt} began", now_ms)
        return attempt

    def end_attempt(self, job_id: JobId, attempt: Attempt, report: Mapping[str, Any], *, now_ms: int) -> None:
        """Keep what an attempt has sent."""
        with self._database.write() as connection:
            connection.execute(
                attempts.update()
                .where(attempts.c.job_id == job_id, attempts.c.attempt == attempt)
                .values(ended_at_ms=now_ms, report=dict(report))
            )

    def attempt_reports(self, job_id: JobId) -> dict[Attempt, Mapping[str, Any] | None]:
        """What each attempt has sent; none for one that has not ended."""
        query = sa.select(attempts).where(attempts.c.job_id == job_id).order_by(attempts.c.attempt)
        with self._database.read() as connection:
            return {Attempt(r["attempt"]): r["report"] for r in connection.execute(query).mappings()}

    def put(self, job_id: JobId, **values: Any) -> None:
        """Set columns of a job without changing its state (evidence, task token, execution, build)."""
        with self._database.write() as connection:
            connection.execute(jobs.update().where(jobs.c.job_id == job_id).values(**values))

    def task_error(self, job_id: JobId) -> Mapping[str, Any] | None:
        """The error record that the job's last task has left for the workflow, or none."""
        with self._database.read() as connection:
            return connection.execute(sa.select(jobs.c.task_error).where(jobs.c.job_id == job_id)).scalar_one_or_none()

    def history(self, job_id: JobId) -> list[Transition]:
        """All state changes of a job in order."""
        query = sa.select(transitions).where(transitions.c.job_id == job_id).order_by(transitions.c.sequence)
        with self._database.read() as connection:
            return [_transition(row) for row in connection.execute(query).mappings()]

    def unannounced(self, limit: int = 100) -> list[Transition]:
        """State changes that have not been put on the job events topic yet, in order per job."""
        query = (
            sa.select(transitions)
            .where(transitions.c.announced.is_(False))
            .order_by(transitions.c.job_id, transitions.c.sequence)  # clocks step back, sequences do not
            .limit(limit)
        )
        with self._database.read() as connection:
            return [_transition(row) for row in connection.execute(query).mappings()]

    def announced(self, done: Sequence[Transition]) -> None:
        """Mark state changes as announced."""
        with self._database.write() as connection:
            for t in done:
                connection.execute(
                    transitions.update()
                    .where(transitions.c.job_id == t.job_id, transitions.c.sequence == t.sequence)
                    .values(announced=True)
                )

    def put_receipt(self, job_id: JobId, record: Mapping[str, Any]) -> None:
        """Keep the receipt of a job (derived from the snapshot, so writing it again is harmless)."""
        with self._database.write() as connection:
            connection.execute(receipts.delete().where(receipts.c.job_id == job_id))
            connection.execute(receipts.insert().values(job_id=job_id, record=dict(record)))

    def receipt(self, job_id: JobId) -> Mapping[str, Any] | None:
        """The receipt of a job, or none."""
        with self._database.read() as connection:
            return connection.execute(
                sa.select(receipts.c.record).where(receipts.c.job_id == job_id)
            ).scalar_one_or_none()

    def last_members(self, audience_id: JobId) -> int:
        """Members of the version that was published last, by the catalog's own record; 0 when there is none."""
        query = (
            sa.select(jobs.c.outcome)
            .where(jobs.c.audience_id == audience_id, jobs.c.state == "READY")
            .order_by(jobs.c.finished_at_ms.desc())
            .limit(1)
        )
        with self._database.read() as connection:
            outcome = connection.execute(query).scalar_one_or_none()
        return int(outcome["members"]) if outcome else 0

    def to_sweep(self, finished_before_ms: int, limit: int = 50) -> list[Job]:
        """Final jobs whose staged data has not been removed yet."""
        query = (
            sa.select(jobs)
            .where(jobs.c.state.in_(FINAL), jobs.c.swept_at_ms.is_(None), jobs.c.finished_at_ms < finished_before_ms)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [_job(row) for row in connection.execute(query).mappings()]

    @staticmethod
    def _locked(connection: sa.Connection, job_id: JobId) -> Mapping[Any, Any]:
        row = connection.execute(sa.select(jobs).where(jobs.c.job_id == job_id).with_for_update()).mappings().first()
        if row is None:
            raise UserError("UNKNOWN_JOB", f"there is no job {job_id}; `muster jobs list` shows them", job=job_id)
        return row

    @staticmethod
    def _append(
        connection: sa.Connection, job_id: JobId, state: JobState, attempt: Attempt, cause: str | None, now_ms: int
    ) -> None:
        last = connection.execute(
            sa.select(sa.func.coalesce(sa.func.max(transitions.c.sequence), 0)).where(transitions.c.job_id == job_id)
        ).scalar_one()
        connection.execute(
            transitions.insert().values(
                job_id=job_id,
                sequence=last + 1,
                state=state,
                attempt=attempt,
                cause=cause,
                at_ms=now_ms,
                announced=False,
            )
        )


def _job(row: Mapping[Any, Any]) -> Job:
    error = row["error"]
    return Job(
        job_id=JobId(row["job_id"]),
        tenant=TenantName(row["tenant"]),
        audience=AudienceName(row["audience"]),
        audience_id=None if row["audience_id"] is None else JobId(row["audience_id"]),
        state=row["state"],
        attempt=Attempt(row["attempt"]),
        mode=row["mode"],
        partitions=row["partitions"],
        spec=ImportSpec.from_record(row["spec"]),
        source=row["source"],
        small=row["small"],
        order_key=row["order_key"],
        dedupe_key=row["dedupe_key"],
        execution=row["execution"],
        task_token=row["task_token"],
        evidence=row["evidence"],
        build=row["build"],
        outcome=row["outcome"],
        error=None if error is None else JobError(**error),
        failed_in=row["failed_in"],
        retry_of=row["retry_of"],
        created_at_ms=row["created_at_ms"],
        finished_at_ms=row["finished_at_ms"],
    )


def _transition(row: Mapping[Any, Any]) -> Transition:
    return Transition(
        job_id=JobId(row["job_id"]),
        sequence=row["sequence"],
        state=row["state"],
        attempt=Attempt(row["attempt"]),
        cause=row["cause"],
        at_ms=row["at_ms"],
    )
