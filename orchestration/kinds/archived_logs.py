"""The logs whose records the archive has, compared with those in Kafka."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from connectors.kafka.topic_ids import TopicIds
from schemas.topics import ACTIVITY_TOPICS
from segmentation.archived import ArchivedLog

if TYPE_CHECKING:
    from connectors.lake.archive import ActivityArchive


def archived_log(archive: "ActivityArchive", bootstrap: str, topic: str) -> ArchivedLog:
    """Of one topic. Raises `RetriableError` TOPIC_REPLACED, TOPIC_MISSING, KAFKA_UNAVAILABLE, LAKE_UNAVAILABLE."""
    return archive.log(topic, topic_id=TopicIds(bootstrap).topic_id(topic))


def archived_logs(archive: "ActivityArchive", bootstrap: str) -> Mapping[str, ArchivedLog]:
    """The logs of events and profiles. Raises as `archived_log`."""
    return {topic: archived_log(archive, bootstrap, topic) for topic in ACTIVITY_TOPICS}
