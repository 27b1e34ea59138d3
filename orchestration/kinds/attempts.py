"""A new attempt of a job, begun once however many ask for it."""

from typing import Any, Final

from orchestration.catalog.records import Job
from orchestration.context import Context
from orchestration.platform.clock import now_ms
from schemas.errors import FatalError
from schemas.ids import Attempt
from schemas.log_ids import bind

MAX_ATTEMPTS: Final = 8
"""More than the workflow's own retries give: a job that comes here more often is in a loop."""


def begin_attempt(context: Context, job: Job, **values: Any) -> Attempt | None:
    """The number of the attempt after the one that the caller saw; `values` are columns set with it.

    None: the job was cancelled, or another attempt has begun, between our look and our swap. Raises `FatalError`
    TOO_MANY_ATTEMPTS.
    """
    if job.attempt >= MAX_ATTEMPTS:
        raise FatalError("TOO_MANY_ATTEMPTS", f"job {job.job_id} has used {MAX_ATTEMPTS} attempts", job=job.job_id)
    try:
        attempt = context.jobs.start_attempt(job.job_id, after=job.attempt, now_ms=now_ms(), **values)
    except FatalError as exc:
        if exc.code != "ATTEMPT_SUPERSEDED":
            raise
        return None
    bind(attempt=attempt)
    return attempt
