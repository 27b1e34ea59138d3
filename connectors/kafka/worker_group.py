"""A consumer group as Kafka knows it: its number of members and its position in each partition."""

from collections.abc import Mapping, Sequence
from typing import Final

from confluent_kafka import (
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import ConsumerGroupDescription, OffsetSpec  # type: ignore[attr-defined]  # not in its __all__

from connectors.kafka.clients import admin_client
from connectors.kafka.committed import CommittedOffsets
from connectors.kafka.logon import answer
from schemas.topics import IMPORT_TOPICS, WORKER_GROUP

TIMEOUT_S: Final = 5.0
PartitionKey = tuple[str, int]
"""Topic and partition."""


class WorkerGroup:
    """Asks Kafka about a consumer group, by default that of the workers.

    Every method blocks for at most a few seconds and raises `KafkaException`, and `FatalError`
    LOGON_REFUSED.
    """

    def __init__(
        self, bootstrap: str, partitions: int, *, name: str = WORKER_GROUP, topics: Sequence[str] = IMPORT_TOPICS
    ) -> None:
        self.name = name
        self._admin = admin_client(bootstrap)
        self._partitions = [TopicPartition(topic, p) for topic in topics for p in range(partitions)]
        self._committed = CommittedOffsets(bootstrap, name, self._partitions)

    def members(self) -> int:
        """Number of members in the group."""
        return len(self._describe().members)

    def serving(self) -> bool:
        """Whether members own the partitions: False without members and while the group rebalances."""
        found = self._describe()
        return bool(found.members) and found.state is ConsumerGroupState.STABLE

    def _describe(self) -> ConsumerGroupDescription:
        described = self._admin.describe_consumer_groups([self.name], request_timeout=TIMEOUT_S)[self.name]
        found: ConsumerGroupDescription = answer(self._admin, described, TIMEOUT_S + 1)
        return found

    def committed(self) -> Mapping[PartitionKey, int]:
        """Offset from which each partition is read next; everything before it is durable. -1 before the first."""
        return self._committed.read(TIMEOUT_S)

    def set_offsets(self, offsets: Mapping[PartitionKey, int]) -> bool:
        """Set the group's offsets. False if it has members."""
        if not offsets:
            return True
        wanted = [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]
        request = [ConsumerGroupTopicPartitions(self.name, wanted)]
        results = self._admin.alter_consumer_group_offsets(request, request_timeout=TIMEOUT_S)[self.name]
        return all(
            partition.error is None for partition in answer(self._admin, results, TIMEOUT_S + 1).topic_partitions
        )

    def ends(self) -> Mapping[PartitionKey, int]:
        """Offset of the next message in each partition, or of the first message of an open transaction."""
        latest = self._admin.list_offsets(
            {partition: OffsetSpec.latest() for partition in self._partitions},  # type: ignore[no-untyped-call]
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=TIMEOUT_S,
        )
        return {_key(partition): answer(self._admin, f, TIMEOUT_S + 1).offset for partition, f in latest.items()}


def unacknowledged(committed: Mapping[PartitionKey, int], ends: Mapping[PartitionKey, int]) -> dict[PartitionKey, int]:
    """The number of messages in each partition that the group has not acknowledged."""
    return {partition: max(end - max(committed.get(partition, 0), 0), 0) for partition, end in ends.items()}


def _key(partition: TopicPartition) -> PartitionKey:
    return partition.topic, partition.partition


def broker_answers(bootstrap: str, timeout_s: float = 5.0) -> bool:
    """Whether the broker answers a metadata request within `timeout_s` seconds."""
    try:
        return bool(admin_client(bootstrap).list_topics(timeout=timeout_s).brokers)
    except KafkaException:
        return False


def group_members(bootstrap: str, group: str) -> int:
    """Members of a stable consumer group; 0 if it does not exist, is rebalancing, or cannot be queried."""
    found = _description(bootstrap, group)
    return len(found.members) if found is not None and found.state is ConsumerGroupState.STABLE else 0


def member_hosts(bootstrap: str, group: str) -> frozenset[str]:
    """Addresses of the members of a consumer group as the broker sees them; empty if it cannot be queried."""
    found = _description(bootstrap, group)
    return frozenset() if found is None else frozenset(member.host.removeprefix("/") for member in found.members)


def _description(bootstrap: str, group: str) -> ConsumerGroupDescription | None:
    admin = admin_client(bootstrap)
    try:
        found: ConsumerGroupDescription = admin.describe_consumer_groups([group], request_timeout=5.0)[group].result(
            6.0
        )
    except (KafkaException, TimeoutError):
        return None
    return found
