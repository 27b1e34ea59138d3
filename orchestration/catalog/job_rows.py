"""Converts rows of the job tables to values."""

from collections.abc import Mapping
from typing import Any, Final

from orchestration.catalog.life_cycle import JobTable
from orchestration.catalog.records import Job, JobError, Transition
from orchestration.catalog.tables import jobs, transitions
from schemas.errors import UserError
from schemas.ids import Attempt, AudienceName, JobId, TenantName
from schemas.import_spec import ImportSpec
from schemas.records import from_record

JOB_TABLE: Final = JobTable(jobs, jobs.c.job_id, transitions, transitions.c.job_id)


def history_columns(attempt: Attempt) -> dict[str, object]:
    """Columns that only the history of jobs has, not that of every kind."""
    return {"attempt": attempt, "announced": False}


def unknown_job(job_id: JobId) -> UserError:
    """The error for an unknown job id."""
    return UserError("UNKNOWN_JOB", f"job {job_id} does not exist; `muster jobs list` shows all jobs", job=job_id)


def job_from_row(row: Mapping[Any, Any]) -> Job:
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
        error=None if error is None else from_record(JobError, error),
        failed_in=row["failed_in"],
        retry_of=row["retry_of"],
        created_at_ms=row["created_at_ms"],
        finished_at_ms=row["finished_at_ms"],
    )


def transition_from_row(row: Mapping[Any, Any]) -> Transition:
    """A row of `transitions`."""
    return Transition(
        job_id=JobId(row["job_id"]),
        sequence=row["sequence"],
        state=row["state"],
        attempt=Attempt(row["attempt"]),
        cause=row["cause"],
        at_ms=row["at_ms"],
    )
