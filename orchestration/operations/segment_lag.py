"""How far the workers of segments are behind the topics."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]  # not in its __all__

from connectors.kafka.clients import admin_client
from connectors.kafka.logon import answer
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
    admin = admin_client(settings.kafka_bootstrap)
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    requests = {TopicPartition(topic, one.partition): latest for topic in ACTIVITY_TOPICS for one in statuses}
    try:
        ends = admin.list_offsets(requests, request_timeout=KAFKA_TIMEOUT_S) if requests else {}
        logs = {topic: archive.log(topic) for topic in ACTIVITY_TOPICS}
        found = {
            (p.topic, p.partition): logs[p.topic].position(
                Partition(p.partition), int(answer(admin, f, KAFKA_TIMEOUT_S + 1).offset)
            )
            for p, f in ends.items()
        }
    except (KafkaException, RetriableError):
        return None
    positions = [(EVENTS, one.partition, one.events) for one in statuses]
    positions += [(PROFILES, one.partition, one.profiles) for one in statuses]
    return sum(max(0, found[topic, partition] - at) for topic, partition, at in positions)
