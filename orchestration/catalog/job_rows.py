"""Converts rows of the job tables to values."""

from collections.abc import Mapping
from typing import Any, Final

from orchestration.catalog.life_cycle import JobTable
from orchestration.catalog.records import Job, JobError
from orchestration.catalog.selected import from_row
from orchestration.catalog.tables import jobs, transitions
from schemas.errors import UserError
from schemas.ids import Attempt, JobId
from schemas.import_spec import ImportSpec

JOB_TABLE: Final = JobTable(jobs, jobs.c.job_id, transitions, transitions.c.job_id)


def history_columns(attempt: Attempt) -> dict[str, object]:
    """Columns that only the history of jobs has, not that of every kind."""
    return {"attempt": attempt, "announced": False}


def unknown_job(job_id: JobId) -> UserError:
    """The error for an unknown job id."""
    return UserError("UNKNOWN_JOB", f"job {job_id} does not exist; `muster jobs list` shows all jobs", job=job_id)


def job_from_row(row: Mapping[Any, Any]) -> Job:
    """A row of `jobs`."""
    return from_row(
        Job,
        row,
        spec=ImportSpec.from_record(row["spec"]),
        error=JobError.stored(row["error"]),
    )
