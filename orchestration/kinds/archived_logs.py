"""The logs of events and profiles that the archive has the records of, held against those that Kafka has."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from connectors.kafka.topic_ids import TopicIds
from schemas.topics import ACTIVITY_TOPICS
from segmentation.archived import ArchivedLog

if TYPE_CHECKING:
    from orchestration.context import Context


def archived_log(context: "Context", topic: str) -> ArchivedLog:
    """Of one topic. Raises `RetriableError` TOPIC_REPLACED, TOPIC_MISSING, KAFKA_UNAVAILABLE, LAKE_UNAVAILABLE."""
    return context.archive.log(topic, topic_id=TopicIds(context.settings.kafka_bootstrap).of(topic))


def archived_logs(context: "Context") -> Mapping[str, ArchivedLog]:
    """Of both. Raises as `archived_log`."""
    return {topic: archived_log(context, topic) for topic in ACTIVITY_TOPICS}
