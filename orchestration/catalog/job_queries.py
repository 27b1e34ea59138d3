"""What is asked about jobs; nothing here changes one."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from orchestration.catalog.engine import Database
from orchestration.catalog.job_rows import job_of, transition_of, unknown_job
from orchestration.catalog.records import Job, Transition
from orchestration.catalog.tables import duplicates, jobs, receipts, transitions
from schemas.ids import JobId
from schemas.messages import JobState
from segmentation.jobs import FINAL


class JobQueries:
    """Jobs, their history and receipts. Every method is one transaction that waits for no writer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, job_id: JobId) -> Job:
        """The job, or its twin when it was a duplicate. Raises `UserError` UNKNOWN_JOB."""
        if (job := self.find(job_id)) is None:
            raise unknown_job(job_id)
        return job

    def find(self, job_id: JobId) -> Job | None:
        """The job, or its twin when it was a duplicate, or none."""
        twin = sa.select(duplicates.c.twin).where(duplicates.c.job_id == job_id).scalar_subquery()
        query = sa.select(jobs).where(jobs.c.job_id == sa.func.coalesce(twin, job_id))
        with self._database.read() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else job_of(row)

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
            return [job_of(row) for row in connection.execute(query).mappings()]

    def live(self) -> list[Job]:
        """All jobs that are not final, oldest first."""
        query = sa.select(jobs).where(jobs.c.state.not_in(FINAL)).order_by(jobs.c.job_id)
        with self._database.read() as connection:
            return [job_of(row) for row in connection.execute(query).mappings()]

    def of_execution(self, execution: str) -> Job | None:
        """The job that an execution has registered or taken over, or none."""
        query = sa.select(jobs).where(jobs.c.execution == execution).limit(1)
        with self._database.read() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else job_of(row)

    def of_object(self, bucket: str, key: str) -> list[Job]:
        """All jobs that read an object."""
        source = jobs.c.source
        query = sa.select(jobs).where(source["bucket"].as_string() == bucket, source["key"].as_string() == key)
        with self._database.read() as connection:
            return [job_of(row) for row in connection.execute(query).mappings()]

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
            return [job_of(row) for row in connection.execute(query).mappings()]

    def task_error(self, job_id: JobId) -> Mapping[str, Any] | None:
        """The error record that the job's last task has left for the workflow, or none."""
        with self._database.read() as connection:
            return connection.execute(sa.select(jobs.c.task_error).where(jobs.c.job_id == job_id)).scalar_one_or_none()

    def history(self, job_id: JobId) -> list[Transition]:
        """All state changes of a job in order."""
        query = sa.select(transitions).where(transitions.c.job_id == job_id).order_by(transitions.c.sequence)
        with self._database.read() as connection:
            return [transition_of(row) for row in connection.execute(query).mappings()]

    def unannounced(self, limit: int = 100) -> list[Transition]:
        """State changes that have not been put on the job events topic yet, in order per job."""
        query = (
            sa.select(transitions)
            .where(transitions.c.announced.is_(False))
            .order_by(transitions.c.job_id, transitions.c.sequence)  # clocks step back, sequences do not
            .limit(limit)
        )
        with self._database.read() as connection:
            return [transition_of(row) for row in connection.execute(query).mappings()]

    def receipt(self, job_id: JobId) -> Mapping[str, Any] | None:
        """The receipt of a job, or none."""
        with self._database.read() as connection:
            return connection.execute(
                sa.select(receipts.c.record).where(receipts.c.job_id == job_id)
            ).scalar_one_or_none()
