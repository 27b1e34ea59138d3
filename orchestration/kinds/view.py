"""What the state machine is told about a job: all that its choices look at, and nothing that is secret or large."""

from typing import Final

from orchestration.catalog.records import Job
from orchestration.context import Context
from orchestration.kinds.timeouts import timeouts
from orchestration.kinds.where import COMPARED, MEMBER_BYTES, place_of
from schemas.ids import JobId
from schemas.log_ids import bind
from schemas.messages import JobState

CUT_MEMBER_BYTES: Final = 16
"""About what a user_id takes in what the workers write down of a segment."""
NOT_MINE: Final = "DUPLICATE"
"""State shown to an execution that the job does not belong to: a twin's, or one that has been replaced. It ends."""

View = dict[str, object]


def view(context: Context, job: Job, *, state: JobState | str | None = None) -> View:
    """The job as the state machine sees it; `state` overrides that of the catalog."""
    shown = state or job.state
    size = _size(context, job)
    members = _members(context, job, shown)
    place = place_of(context.settings, size + MEMBER_BYTES * members)
    return {
        "job_id": job.job_id,
        "state": shown,
        "mode": job.mode,
        "place": place,
        "timeouts": timeouts(size, members, place),
        "user_error": job.error is not None and job.error.kind == "user",
    }


def not_mine(context: Context, job_id: JobId, execution: str) -> View | None:
    """The view that ends an execution which the job does not belong to (any more); none for the one that owns it."""
    job = context.jobs.get(job_id)
    bind(job=job.job_id, attempt=job.attempt, tenant=job.tenant, audience=job.audience)
    return None if job.execution == execution else view(context, job, state=NOT_MINE)


def _members(context: Context, job: Job, shown: JobState | str) -> int:
    """Members that a step has to do with besides the file: a hint for where to run and how long, nothing more.

    BUILDING merges those of the version that is current, as far as the catalog tells. PUBLISHING re-reads those that
    were built, and compares a replace with the current ones.
    """
    if job.audience_id is None:
        return 0
    if shown == "BUILDING" and job.segment is None:  # a snapshot is merged with nothing
        return context.jobs.last_members(job.audience_id)
    if shown == "PUBLISHING" and job.mode == "replace":
        return context.jobs.last_members(job.audience_id) // COMPARED
    built = job.build.get("parts", ()) if job.build is not None and shown == "PUBLISHING" else ()
    return sum(int(part["rows"]) for part in built)


def _size(context: Context, job: Job) -> int:
    """Bytes of the file, or of the members that were written down."""
    if job.segment is None:
        return int(job.source.get("size", 0))
    said = (row for row in context.progress.partitions(job.job_id) if row.attempt == job.attempt)
    return CUT_MEMBER_BYTES * sum(int(row.record.get("distinct", 0)) for row in said)
