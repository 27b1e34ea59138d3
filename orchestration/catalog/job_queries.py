"""What `JobStore` reads, besides what the store of any life cycle has."""

from collections.abc import Collection, Mapping
from functools import cache
from typing import Any, Final

import sqlalchemy as sa

from orchestration.catalog.job_rows import JOB_TABLE, history_columns, job_from_row, unknown_job
from orchestration.catalog.life_cycle import JOB_ID, LifeCycleStore, Row
from orchestration.catalog.records import Job, Transition
from orchestration.catalog.selected import from_row
from orchestration.catalog.tables import duplicates, job_uploads, jobs, receipts, transitions
from schemas.ids import Attempt, JobId
from schemas.layout import uploaded
from schemas.messages import JobState
from segmentation.jobs import FINAL, JOB_LIFE_CYCLE

SHOWN_KIND: Final = sa.case(  # as `Job.shown_kind`; the record of a spec omits `audience`
    (jobs.c.source["segment"].as_string().is_not(None), "snapshot"),
    else_=sa.func.coalesce(jobs.c.spec["kind"].as_string(), "audience"),
)


class JobQueries(LifeCycleStore[Job, JobState]):
    """Jobs, their history and receipts. A query is one transaction, and does not wait for writers."""

    life_cycle = JOB_LIFE_CYCLE
    _table = jobs
    _key = jobs.c.job_id
    _rows = JOB_TABLE
    _record = staticmethod(job_from_row)
    _unknown = staticmethod(unknown_job)
    _kind = SHOWN_KIND

    @staticmethod
    def _history_columns(row: Row) -> Mapping[str, object]:
        return history_columns(Attempt(row["attempt"]))

    @classmethod
    @cache
    def _by_id(cls) -> sa.Select[Any]:
        """The job, or its original if it was a duplicate."""
        original = sa.select(duplicates.c.twin).where(duplicates.c.job_id == JOB_ID).scalar_subquery()
        return sa.select(jobs).where(jobs.c.job_id == sa.func.coalesce(original, JOB_ID))

    def by_object(self, bucket: str, key: str) -> list[Job]:
        """All jobs that read an object as their source; of an upload, also those that read it with other files."""
        source = jobs.c.source
        reads = sa.and_(source["bucket"].as_string() == bucket, source["key"].as_string() == key)
        if (upload := uploaded(key)) is not None:
            among = sa.select(job_uploads.c.job_id).where(job_uploads.c.upload_id == upload)
            reads = sa.or_(reads, jobs.c.job_id.in_(among))
        return self._select(reads)

    def sequencer(self, audience_id: JobId, bucket: str, key: str, version_id: str | None) -> str:
        """The S3 sequencer of an object's earlier import into an audience. Empty if unknown."""
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
        """Members of the last published version, by the catalog's own record. 0 if none was published."""
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
        unswept, finished = jobs.c.swept_at_ms.is_(None), jobs.c.finished_at_ms < finished_before_ms
        return self._select(jobs.c.state.in_(FINAL), unswept, finished, limit=limit)

    def ended(self, job_ids: Collection[JobId]) -> list[JobId]:
        """Those of these jobs that have ended."""
        query = sa.select(jobs.c.job_id).where(jobs.c.job_id.in_(job_ids), jobs.c.state.in_(FINAL))
        with self._database.read() as connection:
            return list(connection.scalars(query))

    def task_error(self, job_id: JobId) -> Mapping[str, Any] | None:
        """The error record that the job's last task left for the workflow, or None."""
        with self._database.read() as connection:
            return connection.execute(sa.select(jobs.c.task_error).where(jobs.c.job_id == job_id)).scalar_one_or_none()

    def history(self, job_id: JobId) -> list[Transition]:
        """All state changes of a job, in order."""
        query = sa.select(transitions).where(transitions.c.job_id == job_id).order_by(transitions.c.sequence)
        with self._database.read() as connection:
            return [from_row(Transition, row) for row in connection.execute(query).mappings()]

    def histories(self, job_ids: Collection[JobId]) -> dict[JobId, list[Transition]]:
        """The histories of several jobs."""
        query = sa.select(transitions).where(transitions.c.job_id.in_(job_ids)).order_by(transitions.c.sequence)
        found: dict[JobId, list[Transition]] = {job_id: [] for job_id in job_ids}
        with self._database.read() as connection:
            for row in connection.execute(query).mappings():
                found[JobId(row["job_id"])].append(from_row(Transition, row))
        return found

    def unannounced(self, limit: int = 100) -> list[Transition]:
        """State changes that are not on the job events topic yet, in order per job."""
        query = (
            sa.select(transitions)
            .where(transitions.c.announced.is_(False))
            .order_by(transitions.c.job_id, transitions.c.sequence)  # clocks can step back, sequences cannot
            .limit(limit)
        )
        with self._database.read() as connection:
            return [from_row(Transition, row) for row in connection.execute(query).mappings()]

    def receipt(self, job_id: JobId, *, tenant: str | None = None) -> Mapping[str, Any] | None:
        """The receipt of a job [of a tenant], or None."""
        query = (
            sa.select(receipts.c.record)
            .join(jobs, jobs.c.job_id == receipts.c.job_id)
            .where(receipts.c.job_id == job_id, *self._of(tenant))
        )
        with self._database.read() as connection:
            return connection.execute(query).scalar_one_or_none()
