"""How far the workers of segments are behind the topics."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaException

from connectors.kafka.log_offsets import LogOffsets
from orchestration.catalog.segment_records import PartitionStatus
from schemas.errors import RetriableError
from schemas.ids import Partition
from schemas.topics import ACTIVITY_TOPICS, EVENTS, PROFILES

if TYPE_CHECKING:
    from connectors.lake.archive import ActivityArchive
    from orchestration.platform.settings import Settings

KAFKA_TIMEOUT_S: Final = 3.0


def behind(partitions: Iterable[PartitionStatus], *, archive: "ActivityArchive", settings: "Settings") -> int | None:
    """Records of events and profiles that have not been read yet. None if Kafka or the lake does not answer."""
    statuses = list(partitions)
    wanted = [(topic, int(one.partition)) for topic in ACTIVITY_TOPICS for one in statuses]
    try:
        ends = LogOffsets(settings.kafka_bootstrap).ends(wanted, KAFKA_TIMEOUT_S)
        logs = {topic: archive.log(topic) for topic in ACTIVITY_TOPICS}
        found = {(topic, p): logs[topic].position(Partition(p), end) for (topic, p), end in ends.items()}
    except (KafkaException, RetriableError):
        return None
    positions = [(EVENTS, one.partition, one.events) for one in statuses]
    positions += [(PROFILES, one.partition, one.profiles) for one in statuses]
    return sum(max(0, found[topic, partition] - at) for topic, partition, at in positions)
