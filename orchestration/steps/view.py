"""What the state machine is told about a job: all that its choices look at, and nothing that is secret or large."""

from typing import Final

from orchestration.catalog.records import Job
from orchestration.context import Context
from schemas.messages import JobState

LAMBDA_BASE_MEMBERS: Final = 1_000_000
"""A base of at most so many members is merged within a Lambda's time and memory."""

View = dict[str, object]


def view(context: Context, job: Job, *, state: JobState | str | None = None, base_members: int = 0) -> View:
    """The job as the state machine sees it; `state` overrides that of the catalog (DUPLICATE)."""
    fits = int(job.source.get("size", 0)) <= context.settings.lambda_file_bytes
    return {
        "job_id": job.job_id,
        "state": state or job.state,
        "mode": job.mode,
        "in_lambda": fits,
        "build_in_lambda": fits and base_members <= LAMBDA_BASE_MEMBERS,
        "user_error": job.error is not None and job.error.kind == "user",
    }
