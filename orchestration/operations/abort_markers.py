"""Abort markers of a cancelled import, so that the workers drop what they hold at once."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from connectors.publishing.importer import publish_aborted
from connectors.publishing.producer import KafkaTopicLog
from orchestration.kinds.topics import import_topic
from schemas.errors import MusterError

if TYPE_CHECKING:
    from orchestration.catalog.records import Job
    from orchestration.platform.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class AbortMarkers:
    """Sends them. Loads Kafka and Arrow; who has neither leaves it to the control plane."""

    settings: "Settings"

    def send(self, job: "Job") -> str | None:
        """Send the markers of a job; returns a warning if Kafka does not take them."""
        if job.attempt == 0 or job.segment is not None:  # workers hold nothing of a snapshot
            return None
        try:
            publish_aborted(
                KafkaTopicLog(self.settings.kafka_bootstrap, import_topic(job), delivery_timeout_s=10.0),
                import_id=job.job_id,
                attempt=job.attempt,
                partitions=job.partitions,
                reason="CANCELLED",
            )
        except MusterError as exc:
            return f"the workers could not be notified yet ({exc.code}); the relay will notify them"
        return None
