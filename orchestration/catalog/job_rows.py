"""Rows of the tables of jobs as values, and the two things that every change of a job does with them."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from orchestration.catalog.records import Job, JobError, Transition
from orchestration.catalog.tables import jobs, transitions
from schemas.errors import UserError
from schemas.ids import Attempt, AudienceName, JobId, TenantName
from schemas.import_spec import ImportSpec
from schemas.messages import JobState


def locked(connection: sa.Connection, job_id: JobId) -> Mapping[Any, Any]:
    """The row of a job, locked until the transaction ends. Raises `UserError` UNKNOWN_JOB."""
    row = connection.execute(sa.select(jobs).where(jobs.c.job_id == job_id).with_for_update()).mappings().first()
    if row is None:
        raise unknown_job(job_id)
    return row


def append(
    connection: sa.Connection, job_id: JobId, state: JobState, attempt: Attempt, cause: str | None, now_ms: int
) -> None:
    """Write the next line of a job's history."""
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


def unknown_job(job_id: JobId) -> UserError:
    """The error for an id that no job has."""
    return UserError("UNKNOWN_JOB", f"there is no job {job_id}; `muster jobs list` shows them", job=job_id)


def job_of(row: Mapping[Any, Any]) -> Job:
    """A row of `jobs`."""
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


def transition_of(row: Mapping[Any, Any]) -> Transition:
    """A row of `transitions`."""
    return Transition(
        job_id=JobId(row["job_id"]),
        sequence=row["sequence"],
        state=row["state"],
        attempt=Attempt(row["attempt"]),
        cause=row["cause"],
        at_ms=row["at_ms"],
    )
