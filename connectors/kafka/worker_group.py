"""A consumer group as Kafka knows it: its number of members and its position in each partition."""

from collections.abc import Mapping, Sequence
from typing import Final

from confluent_kafka import KafkaException, TopicPartition

from connectors.kafka.clients import admin_client
from connectors.kafka.committed import CommittedOffsets
from connectors.kafka.groups import describe_group
from connectors.kafka.log_offsets import LogOffsets, PartitionKey
from schemas.topics import IMPORT_TOPICS, WORKER_GROUP

TIMEOUT_S: Final = 5.0


class WorkerGroup:
    """Asks Kafka about a consumer group, by default that of the workers.

    Every method blocks for at most a few seconds and raises `KafkaException`, and `FatalError`
    LOGON_REFUSED.
    """

    def __init__(
        self, bootstrap: str, partitions: int, *, name: str = WORKER_GROUP, topics: Sequence[str] = IMPORT_TOPICS
    ) -> None:
        self.name = name
        self._bootstrap = bootstrap
        self._partitions = [(topic, p) for topic in topics for p in range(partitions)]
        self._committed = CommittedOffsets(bootstrap, name, [TopicPartition(*key) for key in self._partitions])
        self._log = LogOffsets(bootstrap, "read_committed")

    def members(self) -> int:
        """Number of members in the group."""
        return len(describe_group(self._bootstrap, self.name, TIMEOUT_S).members)

    def serving(self) -> bool:
        """Whether members own the partitions: False without members and while the group rebalances."""
        return describe_group(self._bootstrap, self.name, TIMEOUT_S).serving

    def committed(self) -> Mapping[PartitionKey, int]:
        """Offset from which each partition is read next; everything before it is durable. -1 before the first."""
        return self._committed.read(TIMEOUT_S)

    def set_offsets(self, offsets: Mapping[PartitionKey, int]) -> bool:
        """Set the group's offsets. False if it has members."""
        return not offsets or self._committed.write(offsets)

    def ends(self) -> Mapping[PartitionKey, int]:
        """Offset of the next message in each partition, or of the first message of an open transaction."""
        return self._log.ends(self._partitions, TIMEOUT_S)

    def lag(self) -> int:
        """Messages that the group has not acknowledged and that Kafka still has."""
        committed, ends = self.committed(), self.ends()
        if not any(unacknowledged(committed, ends).values()):
            return 0
        starts = self._log.starts(self._partitions, TIMEOUT_S)  # retention may have taken what nobody acknowledged
        reached = {partition: max(committed[partition], start) for partition, start in starts.items()}
        return sum(unacknowledged(reached, ends).values())


def unacknowledged(committed: Mapping[PartitionKey, int], ends: Mapping[PartitionKey, int]) -> dict[PartitionKey, int]:
    """The number of messages in each partition that the group has not acknowledged."""
    return {partition: max(end - max(committed.get(partition, 0), 0), 0) for partition, end in ends.items()}


def broker_answers(bootstrap: str, timeout_s: float = 5.0) -> bool:
    """Whether the broker answers a metadata request within `timeout_s` seconds."""
    try:
        return bool(admin_client(bootstrap).list_topics(timeout=timeout_s).brokers)
    except KafkaException:
        return False


def group_members(bootstrap: str, group: str) -> int:
    """Members of a stable consumer group; 0 if it does not exist, is rebalancing, or cannot be queried."""
    try:
        found = describe_group(bootstrap, group, TIMEOUT_S)
    except KafkaException:
        return 0
    return len(found.members) if found.serving else 0


def member_ids(bootstrap: str, group: str) -> frozenset[str]:
    """Client ids of the members of a consumer group; empty if it cannot be queried."""
    try:
        return frozenset(member.client_id for member in describe_group(bootstrap, group, TIMEOUT_S).members)
    except KafkaException:
        return frozenset()
