"""Jobs in the catalog: guarded state changes, attempts, announcements, receipts."""

from collections.abc import Mapping, Sequence, Set
from typing import Any

import sqlalchemy as sa

from orchestration.catalog import admission, registration
from orchestration.catalog.job_queries import JobQueries
from orchestration.catalog.job_rows import append, job_of, locked
from orchestration.catalog.records import Job, JobError, NewJob, Transition
from orchestration.catalog.tables import attempts, jobs, receipts, transitions
from orchestration.catalog.upsert import upsert
from schemas.errors import FatalError
from schemas.ids import Attempt, JobId
from schemas.messages import JobState
from segmentation.admission import Lanes
from segmentation.jobs import FINAL, STATES, Change, change


class JobStore(JobQueries):
    """Jobs and their history. Every method is one transaction; outages raise `RetriableError` CATALOG_UNAVAILABLE.

    A call that timed out may have happened: repeating any of these with the same arguments is harmless.
    """

    def register(self, new: NewJob, *, again: bool = False, refused: JobError | None = None) -> JobId:
        """Register a job and return the id of the job that is to run (`catalog.registration`)."""
        return registration.register(self._database, new, again=again, refused=refused)

    def admit(self, lanes: Lanes, *, now_ms: int) -> list[JobId]:
        """Let the waiting jobs begin whose turn it is (`catalog.admission`)."""
        return admission.admit(self._database, lanes, now_ms=now_ms)

    def queue_position(self, job_id: JobId) -> int | None:
        """The place of a job among those that wait for their turn, from 1; none when it does not wait."""
        return admission.queue_position(self._database, job_id)

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
            row = locked(connection, job_id)
            verdict = change(row["state"], to)
            if verdict is Change.APPLIED and only_from is not None and row["state"] not in only_from:
                verdict = Change.REFUSED
            if any(row[name] != seen for name, seen in (expecting or {}).items()):
                verdict = Change.REFUSED
            if verdict is Change.APPLIED:
                if to in FINAL:
                    values["finished_at_ms"] = now_ms
                connection.execute(jobs.update().where(jobs.c.job_id == job_id).values(state=to, **values))
                append(connection, job_id, to, Attempt(row["attempt"]), cause, now_ms)
            return verdict, job_of(locked(connection, job_id))

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

    def mend(
        self,
        job_id: JobId,
        *,
        receipt: Mapping[str, Any],
        outcome: Mapping[str, Any],
        finished_at_ms: int,
        now_ms: int,
        cause: str,
    ) -> None:
        """Make an ended job READY: its version is published, whatever became of the record of it.

        The one change of state beside the table, and no step of the workflow: only for what is derived from a snapshot.
        Raises `FatalError` NOT_ENDED for a job that still runs; the workflow ends it.
        """
        with self._database.write() as connection:
            row = locked(connection, job_id)
            if row["state"] not in FINAL:
                raise FatalError("NOT_ENDED", f"job {job_id} is {row['state']}", job=job_id)
            values: dict[str, Any] = {"outcome": dict(outcome), "finished_at_ms": finished_at_ms}
            if row["state"] != "READY":
                values |= {"state": "READY", "error": None, "failed_in": None, "swept_at_ms": None}
                append(connection, job_id, "READY", Attempt(row["attempt"]), cause, now_ms)
            connection.execute(jobs.update().where(jobs.c.job_id == job_id).values(**values))
            _put_receipt(connection, job_id, receipt)

    def adopt(self, job_id: JobId, *, gone: str | None, execution: str) -> bool:
        """Make `execution` the one that a live job belongs to, if it still belongs to the one that is `gone`."""
        with self._database.write() as connection:
            row = locked(connection, job_id)
            if row["execution"] != gone or row["state"] in FINAL:
                return False
            connection.execute(jobs.update().where(jobs.c.job_id == job_id).values(execution=execution))
            return True

    def start_attempt(self, job_id: JobId, *, after: Attempt, now_ms: int, **values: Any) -> Attempt:
        """Begin attempt `after` + 1: a compare-and-swap that is allowed only in state IMPORTING.

        `values` are columns set with it.

        Raises `FatalError` ATTEMPT_SUPERSEDED when the job is elsewhere or another attempt has begun.
        """
        attempt = Attempt(after + 1)
        with self._database.write() as connection:
            row = locked(connection, job_id)
            if row["state"] != "IMPORTING" or row["attempt"] != after:
                raise FatalError(
                    "ATTEMPT_SUPERSEDED",
                    f"job {job_id} is {row['state']} in attempt {row['attempt']}; attempt {attempt} may not begin",
                    job=job_id,
                    state=row["state"],
                    attempt=row["attempt"],
                )
            connection.execute(jobs.update().where(jobs.c.job_id == job_id).values(attempt=attempt, **values))
            connection.execute(attempts.insert().values(job_id=job_id, attempt=attempt, started_at_ms=now_ms))
            append(connection, job_id, "IMPORTING", attempt, f"attempt {attempt} began", now_ms)
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
        """What each attempt has sent; none for one that has not come to its end markers."""
        query = sa.select(attempts).where(attempts.c.job_id == job_id).order_by(attempts.c.attempt)
        with self._database.read() as connection:
            return {Attempt(r["attempt"]): r["report"] for r in connection.execute(query).mappings()}

    def put(self, job_id: JobId, **values: Any) -> None:
        """Set columns of a job without changing its state (evidence, task token, execution, build)."""
        with self._database.write() as connection:
            connection.execute(jobs.update().where(jobs.c.job_id == job_id).values(**values))

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
            _put_receipt(connection, job_id, record)


def _put_receipt(connection: sa.Connection, job_id: JobId, record: Mapping[str, Any]) -> None:
    upsert(connection, receipts, {"job_id": job_id}, {"record": dict(record)})
