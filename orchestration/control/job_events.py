"""History of jobs -> `muster.job-events`, in order per job, at least once (consumers skip sequences they have seen)."""

import logging

from orchestration.catalog.jobs import JobStore
from orchestration.catalog.records import Job, Transition
from orchestration.control.job_durations import JobDurations
from orchestration.control.producer import ControlPlaneProducer, Outgoing
from schemas.errors import MusterError
from schemas.messages import JobEvent
from schemas.topics import JOB_EVENTS

_log = logging.getLogger(__name__)


class JobEvents:
    """Publishes state changes that are not announced yet, and marks them once the broker has acknowledged them."""

    def __init__(self, jobs: JobStore, bootstrap: str, durations: JobDurations) -> None:
        self._jobs = jobs
        self._durations = durations
        self._producer = ControlPlaneProducer(bootstrap)

    def announce(self) -> int:
        """Publish what is due and return how many. Undelivered changes are published by a later call."""
        due = self._jobs.unannounced()
        if not due:
            return 0
        ids = {transition.job_id for transition in due}
        jobs = {job_id: self._jobs.get(job_id) for job_id in ids}
        events = [job_event(jobs[transition.job_id], transition) for transition in due]
        try:
            self._producer.send(
                Outgoing(topic=JOB_EVENTS, key=event.job_id.encode(), message=event) for event in events
            )
        except MusterError as exc:
            _log.warning("cannot deliver job events: %s", exc)
            return 0
        self._jobs.mark_announced(due)
        histories = self._jobs.histories(ids)
        for transition in due:
            self._durations.observe(jobs[transition.job_id], histories[transition.job_id], transition.sequence)
        return len(due)


def job_event(job: Job, transition: Transition) -> JobEvent:
    """A state change as outside systems see it."""
    ready = transition.state == "READY" and job.outcome is not None
    return JobEvent(
        job_id=job.job_id,
        tenant=job.tenant,
        audience=job.audience,
        sequence=transition.sequence,
        state=transition.state,
        attempt=transition.attempt,
        version=job.outcome.get("version") if ready and job.outcome else None,
        code=job.error.code if transition.state == "FAILED" and job.error is not None else None,
        occurred_at_us=transition.at_ms * 1000,
    )
