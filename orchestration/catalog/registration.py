"""Registration of jobs: one job per object or content of an upload, decided by the claim on it."""

import sqlalchemy as sa

from orchestration.catalog.engine import Database
from orchestration.catalog.job_rows import JOB_TABLE, history_columns
from orchestration.catalog.records import JobError, NewJob
from orchestration.catalog.tables import claims, duplicates, job_uploads, jobs
from schemas.ids import Attempt, JobId
from schemas.messages import JobState

_RELEASES_CLAIM = frozenset({"FAILED", "CANCELLED", "SUPERSEDED"})


def register(
    database: Database,
    new: NewJob,
    *,
    again: bool = False,
    outdated: JobId | None = None,
    refused: JobError | None = None,
) -> JobId:
    """Register a job and return the id of the job that will run: its own, or that of its live or READY original.

    The original has the same `dedupe_key`. With `again`, no original is looked for; `outdated`: a READY job that counts
    as one no more. A `refused` job is FAILED from the start.
    """
    try:
        return _register(database, new, again=again, outdated=outdated, refused=refused)
    except sa.exc.IntegrityError:  # another process claimed the key between our read and our insert
        return _register(database, new, again=again, outdated=outdated, refused=refused)


def ready_original(database: Database, dedupe_key: str) -> JobId | None:
    """The READY job that holds the claim on a key, if one does."""
    with database.read() as connection:
        holder = connection.execute(_holder(dedupe_key)).first()
    return JobId(holder.job_id) if holder is not None and holder.state == "READY" else None


def _register(
    database: Database, new: NewJob, *, again: bool, outdated: JobId | None, refused: JobError | None
) -> JobId:
    with database.write() as connection:
        if connection.execute(sa.select(jobs.c.job_id).where(jobs.c.job_id == new.job_id)).first() is not None:
            return new.job_id
        # Repeat a lost answer whatever became of the original since: an id is a job or a duplicate, for good.
        original = connection.execute(sa.select(duplicates.c.twin).where(duplicates.c.job_id == new.job_id)).scalar()
        if original is not None:
            return JobId(original)
        holder = _claim_holder(connection, new.dedupe_key)
        if not again and holder is not None and holder[1] not in _RELEASES_CLAIM and holder[0] != outdated:
            original = holder[0]
            connection.execute(
                duplicates.insert().values(job_id=new.job_id, twin=original, created_at_ms=new.created_at_ms)
            )
            return original
        values = {
            "job_id": new.job_id,
            "tenant": new.tenant[:255],
            "audience": new.audience[:255],
            "audience_id": new.audience_id,
            "attempt": 0,
            "mode": new.mode,
            "partitions": new.partitions,
            "spec": new.spec.as_record(),
            "source": dict(new.source),
            "small": new.small,
            "order_key": new.order_key,
            "dedupe_key": new.dedupe_key,
            "execution": new.execution,
            "retry_of": new.retry_of,
            "evidence": None if new.evidence is None else dict(new.evidence),
        }
        line = history_columns(Attempt(0))
        JOB_TABLE.register(connection, values, now_ms=new.created_at_ms, refused=refused, line=line)
        if new.uploads:
            rows = [{"job_id": new.job_id, "upload_id": upload} for upload in new.uploads]
            connection.execute(job_uploads.insert(), rows)
        if holder is None:
            connection.execute(claims.insert().values(dedupe_key=new.dedupe_key, job_id=new.job_id))
        else:  # its row is locked since we read it, so no other process can take it over
            connection.execute(claims.update().where(claims.c.dedupe_key == new.dedupe_key).values(job_id=new.job_id))
        return new.job_id


def _claim_holder(connection: sa.Connection, dedupe_key: str) -> tuple[JobId, JobState] | None:
    """The job that holds the claim on an object, and its state; its row is locked until the transaction ends."""
    holder = connection.execute(_holder(dedupe_key).with_for_update()).first()
    return None if holder is None else (JobId(holder.job_id), holder.state)


def _holder(dedupe_key: str) -> sa.Select[tuple[str, str]]:
    return (
        sa.select(jobs.c.job_id, jobs.c.state)
        .join(claims, claims.c.job_id == jobs.c.job_id)
        .where(claims.c.dedupe_key == dedupe_key)
    )
