"""History of jobs -> `muster.job-events`, in order per job, at least once (consumers skip sequences they have seen)."""

import logging
from typing import Final

from confluent_kafka import KafkaException, Producer

from orchestration.catalog.records import Job, Transition
from orchestration.context import Context
from schemas.codec import CODEC
from schemas.messages import JobEvent
from schemas.topics import JOB_EVENTS

FLUSH_S: Final = 10.0
_log = logging.getLogger(__name__)


class JobEvents:
    """Puts state changes that are not announced yet on the topic, and marks them once the broker has them."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._producer = Producer(
            {
                "bootstrap.servers": context.settings.kafka_bootstrap,
                "enable.idempotence": True,
                "acks": "all",
                "delivery.timeout.ms": int(FLUSH_S * 1000),
                "reconnect.backoff.max.ms": 500,
                "partitioner": "murmur2_random",
                "log_level": 2,
            }
        )

    def announce(self) -> int:
        """Announce what is due; returns how many. What could not be delivered is announced by a later call."""
        due = self._context.jobs.unannounced()
        if not due:
            return 0
        failed: list[str] = []
        for transition in due:
            event = job_event(self._context.jobs.get(transition.job_id), transition)
            self._producer.produce(
                JOB_EVENTS,
                CODEC.encode(event),
                key=transition.job_id,
                on_delivery=lambda error, _: failed.append(error.str()) if error is not None else None,
            )
        try:
            left = self._producer.flush(FLUSH_S)
        except KafkaException as exc:
            failed.append(str(exc))
            left = 0
        if left or failed:
            _log.warning("job events could not be delivered: %s", failed[:1] or f"{left} are still queued")
            return 0
        self._context.jobs.announced(due)
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
        version=job.outcome["version"] if ready and job.outcome else None,
        code=job.error.code if transition.state == "FAILED" and job.error is not None else None,
        occurred_at_us=transition.at_ms * 1000,
    )
