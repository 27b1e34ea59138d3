"""What the state machine is told about a job: all that its choices look at, and nothing that is secret or large."""

from typing import Final

from orchestration.catalog.records import Job
from orchestration.context import Context
from orchestration.steps.timeouts import timeouts
from schemas.ids import JobId
from schemas.log_ids import bind
from schemas.messages import JobState

LAMBDA_BASE_MEMBERS: Final = 1_000_000
"""A base of at most so many members is merged within a Lambda's time and memory."""
MEMBER_BYTES: Final = 16
"""About what a user_id takes."""
NOT_MINE: Final = "DUPLICATE"
"""State shown to an execution that the job does not belong to: a twin's, or one that has been replaced. It ends."""

View = dict[str, object]


def view(context: Context, job: Job, *, state: JobState | str | None = None) -> View:
    """The job as the state machine sees it; `state` overrides that of the catalog."""
    shown = state or job.state
    size = _size(context, job)
    fits = size <= context.settings.lambda_file_bytes
    base = _base_members(context, job) if shown == "BUILDING" else 0
    return {
        "job_id": job.job_id,
        "state": shown,
        "mode": job.mode,
        "in_lambda": fits,
        "build_in_lambda": fits and base <= LAMBDA_BASE_MEMBERS,
        "timeouts": timeouts(size, base),
        "user_error": job.error is not None and job.error.kind == "user",
    }


def not_mine(context: Context, job_id: JobId, execution: str) -> View | None:
    """The view that ends an execution which the job does not belong to (any more); none for the one that owns it."""
    job = context.jobs.get(job_id)
    bind(job=job.job_id, attempt=job.attempt, tenant=job.tenant, audience=job.audience)
    return None if job.execution == execution else view(context, job, state=NOT_MINE)


def _base_members(context: Context, job: Job) -> int:
    """Members of the current version, as far as the catalog tells; a hint for where to run, nothing more."""
    if job.audience_id is None or job.segment is not None:  # a snapshot is merged with nothing
        return 0
    return context.jobs.last_members(job.audience_id)


def _size(context: Context, job: Job) -> int:
    """Bytes of the file, or of the members that were written down."""
    if job.segment is None:
        return int(job.source.get("size", 0))
    said = (row for row in context.progress.partitions(job.job_id) if row.attempt == job.attempt)
    return MEMBER_BYTES * sum(int(row.record.get("distinct", 0)) for row in said)
