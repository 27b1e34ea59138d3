"""The bounded backlog: messages that this attempt has sent and the workers have not taken yet."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

from confluent_kafka import KafkaException, TopicPartition

from connectors.kafka.committed import CommittedOffsets
from connectors.kafka.errors import kafka_error
from connectors.publishing.ports import Delivery
from schemas.ids import Partition
from schemas.topics import WORKER_GROUP

REQUEST_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BacklogLimit:
    """How much of one attempt may wait for the workers, per partition: chunks, and bytes of their messages.

    Twice what a worker holds back before it stages (`streams.config`), so that both go on meanwhile.
    """

    chunks: int = 1024
    bytes: int = 384 * 1024 * 1024

    def share(self, of: int) -> Self:
        """That of one sender of several, each of which counts its own messages."""
        return replace(self, chunks=max(1, self.chunks // of), bytes=max(1, self.bytes // of))


class Outstanding:
    """Counts, per partition, the messages that this attempt has sent and the workers have not taken.

    A message counts from the moment it is sent until it has been delivered and the group's position has passed its
    offset.
    """

    def __init__(self, partitions: int) -> None:
        self._chunks = [0] * partitions
        self._bytes = [0] * partitions
        self._delivered: list[deque[Delivery]] = [deque() for _ in range(partitions)]

    def sent(self, partition: Partition, size: int) -> None:
        """Record that a message of `size` bytes was queued."""
        self._chunks[partition] += 1
        self._bytes[partition] += size

    def delivered(self, deliveries: Iterable[Delivery]) -> None:
        """Record what the broker has acknowledged; offsets of a partition come in ascending order."""
        for delivery in deliveries:
            self._delivered[delivery.partition].append(delivery)

    def committed(self, positions: Sequence[int]) -> None:
        """Record the committed offsets of the workers, one per partition."""
        for partition, position in enumerate(positions):
            waiting = self._delivered[partition]
            while waiting and waiting[0].offset < position:
                done = waiting.popleft()
                self._chunks[partition] -= 1
                self._bytes[partition] -= done.size

    def full(self, partition: Partition, limit: BacklogLimit) -> bool:
        """Whether another chunk must wait."""
        return self._chunks[partition] >= limit.chunks or self._bytes[partition] >= limit.bytes

    def chunks(self, partition: Partition) -> int:
        """Number of messages in a partition that wait for the workers."""
        return self._chunks[partition]


class KafkaBacklog:
    """`Backlog` from the committed offsets of the workers' consumer group."""

    def __init__(self, bootstrap: str, topic: str, partitions: int, *, group: str = WORKER_GROUP) -> None:
        self._partitions = [TopicPartition(topic, partition) for partition in range(partitions)]
        self._doing = f"reading the offsets of group {group}"
        self._offsets = CommittedOffsets(bootstrap, group, self._partitions)

    def committed(self) -> tuple[int, ...]:
        """Committed offset per partition, 0 if none."""
        try:
            found = self._offsets.read(REQUEST_TIMEOUT_S)
        except KafkaException as exc:
            raise kafka_error(exc, self._doing) from exc
        return tuple(max(found[one.topic, one.partition], 0) for one in self._partitions)
