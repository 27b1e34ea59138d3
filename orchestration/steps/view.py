"""What the state machine is told about a job: all that its choices look at, and nothing that is secret or large."""

from orchestration.catalog.records import Job
from schemas.messages import JobState

SMALL_BASE_MEMBERS = 1_000_000
"""A base of at most so many members is merged within a Lambda's time and memory."""

View = dict[str, object]


def view(job: Job, *, state: JobState | str | None = None, base_members: int = 0) -> View:
    """The job as the state machine sees it; `state` overrides that of the catalog (DUPLICATE)."""
    return {
        "job_id": job.job_id,
        "state": state or job.state,
        "mode": job.mode,
        "small": job.small,
        "small_build": job.small and base_members <= SMALL_BASE_MEMBERS,
        "user_error": job.error is not None and job.error.kind == "user",
    }
