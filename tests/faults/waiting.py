"""Waiting for results while servers are down: an outage is not an answer, and a hang is an error."""

from collections.abc import Callable
from typing import Final, TypeVar

from orchestration.catalog.records import Job
from orchestration.composition.context import Context
from schemas.errors import RetriableError
from schemas.ids import JobId
from schemas.messages import JobState
from segmentation.jobs import FINAL
from tests import waiting

T = TypeVar("T")
POLL_S: Final = 0.02
END_TIMEOUT_S: Final = 400.0
"""Several times what the workflow's retries take at most for a small file."""


def until(ask: Callable[[], T | None], what: str, *, timeout_s: float = waiting.TIMEOUT_S) -> T:
    """The first true answer. Raises `AssertionError` with `what` was waited for, and the outage that it met last."""
    met: list[RetriableError] = []

    def answer() -> T | None:
        met.clear()
        try:
            return ask()
        except RetriableError as exc:
            met.append(exc)
            return None

    return waiting.until(answer, lambda: f"{what} {met or ''}", timeout_s=timeout_s, poll_s=POLL_S)


def job_of(context: Context, audience: str, key: str, version_id: str) -> Job:
    """The job that was started by this version of the object."""
    wanted = key, version_id

    def find() -> Job | None:
        jobs = context.jobs.search(audience=audience)
        return next((job for job in jobs if (job.source["key"], job.source["version_id"]) == wanted), None)

    return until(find, f"a job for version {version_id} of {key}")


def state_reached(context: Context, job_id: JobId, state: JobState) -> None:
    """Wait until a job has reached a state, or has ended without it."""
    wanted = {state, *FINAL}
    until(lambda: any(t.state in wanted for t in context.jobs.history(job_id)), f"job {job_id} {state}")


def ended(context: Context, job_id: JobId) -> Job:
    """Wait for the end of the job and return it."""

    def find() -> Job | None:
        job = context.jobs.get(job_id)
        return job if job.state in FINAL else None

    try:
        return until(find, f"the end of job {job_id}", timeout_s=END_TIMEOUT_S)
    except AssertionError as exc:
        history = "".join(f"\n{t.at_ms} {t.state} {t.attempt} {t.cause}" for t in context.jobs.history(job_id))
        raise AssertionError(f"{exc}{history}") from None
