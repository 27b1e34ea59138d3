"""Jobs in the catalog: guarded state changes, attempts, announcements, receipts."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from orchestration.catalog import admission, registration
from orchestration.catalog.job_queries import JobQueries
from orchestration.catalog.job_rows import JOB_TABLE, history_columns
from orchestration.catalog.life_cycle import JOB_ID, of_job
from orchestration.catalog.records import JobError, NewJob, Transition
from orchestration.catalog.tables import attempts, receipts, transitions
from orchestration.catalog.upsert import upsert
from schemas.errors import FatalError
from schemas.ids import Attempt, JobId
from segmentation.admission import Lanes
from segmentation.jobs import FINAL

_ATTEMPTS: Final = sa.select(attempts).where(attempts.c.job_id == JOB_ID).order_by(attempts.c.attempt)


class JobStore(JobQueries):
    """Jobs and their history. Every method is one transaction; outages raise `RetriableError` CATALOG_UNAVAILABLE.

    A call that timed out may have taken effect: repeating it with the same arguments is harmless.
    """

    def register(
        self,
        new: NewJob,
        *,
        again: bool = False,
        outdated: JobId | None = None,
        refused: JobError | None = None,
    ) -> JobId:
        """Register a job and return the id of the job that will run (`catalog.registration`)."""
        return registration.register(self._database, new, again=again, outdated=outdated, refused=refused)

    def ready_original(self, dedupe_key: str) -> JobId | None:
        """The READY job that a job with this key would repeat."""
        return registration.ready_original(self._database, dedupe_key)

    def admit(self, lanes: Lanes, *, now_ms: int) -> list[JobId]:
        """Admit the waiting jobs whose turn it is (`catalog.admission`)."""
        return admission.admit(self._database, lanes, now_ms=now_ms)

    def queue_position(self, job_id: JobId) -> int | None:
        """Position of a job among those waiting for their turn, from 1. None if it does not wait."""
        return admission.queue_position(self._database, job_id)

    def repair(
        self,
        job_id: JobId,
        *,
        receipt: Mapping[str, Any],
        outcome: Mapping[str, Any],
        finished_at_ms: int,
        now_ms: int,
        cause: str,
    ) -> None:
        """Make an ended job READY: its version is published, whatever the catalog recorded.

        The only state change outside the life-cycle table, and not a step of the workflow: only for records derived
        from an Iceberg snapshot. Raises `FatalError` NOT_ENDED for a running job; the workflow ends that one.
        """
        with self._database.write() as connection:
            row = self._locked(connection, job_id)
            if row["state"] not in FINAL:
                raise FatalError("NOT_ENDED", f"job {job_id} is {row['state']}", job=job_id)
            values: dict[str, Any] = {"outcome": dict(outcome), "finished_at_ms": finished_at_ms}
            if row["state"] == "READY":
                JOB_TABLE.set(connection, job_id, **values)
            else:
                values |= {"error": None, "failed_in": None, "swept_at_ms": None}
                line = history_columns(Attempt(row["attempt"]))
                JOB_TABLE.enter(connection, job_id, "READY", cause, now_ms, values=values, line=line)
            _put_receipt(connection, job_id, receipt)

    def start_attempt(self, job_id: JobId, *, after: Attempt, now_ms: int, **values: Any) -> Attempt:
        """Begin attempt `after` + 1: a compare-and-swap that is allowed only in state IMPORTING.

        `values` are columns set with it.

        Raises `FatalError` ATTEMPT_SUPERSEDED if the job is in another state or another attempt has begun.
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
            JOB_TABLE.set(connection, job_id, attempt=attempt, **values)
            connection.execute(attempts.insert().values(job_id=job_id, attempt=attempt, started_at_ms=now_ms))
            JOB_TABLE.append(
                connection, job_id, "IMPORTING", f"attempt {attempt} began", now_ms, **history_columns(attempt)
            )
        return attempt

    def end_attempt(self, job_id: JobId, attempt: Attempt, report: Mapping[str, Any], *, now_ms: int) -> None:
        """Store the report of what an attempt has sent."""
        with self._database.write() as connection:
            connection.execute(
                attempts.update()
                .where(attempts.c.job_id == job_id, attempts.c.attempt == attempt)
                .values(ended_at_ms=now_ms, report=dict(report))
            )

    def attempt_reports(self, job_id: JobId) -> dict[Attempt, Mapping[str, Any] | None]:
        """The report of each attempt. None for an attempt that has not sent its end markers."""
        with self._database.read() as connection:
            found = connection.execute(_ATTEMPTS, of_job(job_id)).mappings()
            return {Attempt(row["attempt"]): row["report"] for row in found}

    def mark_announced(self, done: Sequence[Transition]) -> None:
        """Mark state changes as announced."""
        with self._database.write() as connection:
            for t in done:
                connection.execute(
                    transitions.update()
                    .where(transitions.c.job_id == t.job_id, transitions.c.sequence == t.sequence)
                    .values(announced=True)
                )

    def put_receipt(self, job_id: JobId, record: Mapping[str, Any]) -> None:
        """Store the receipt of a job (derived from the Iceberg snapshot, so writing it again is harmless)."""
        with self._database.write() as connection:
            _put_receipt(connection, job_id, record)


def _put_receipt(connection: sa.Connection, job_id: JobId, record: Mapping[str, Any]) -> None:
    upsert(connection, receipts, {"job_id": job_id}, {"record": dict(record)})
