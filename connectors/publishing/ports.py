"""What publishing needs from outside: the topic, the position of the workers, the decision of the catalog."""

from dataclasses import dataclass
from typing import Protocol

from schemas.ids import Partition


class StopPublishing(Exception):  # noqa: N818  # a decision made elsewhere, not an error
    """The attempt must stop without end markers."""


class Superseded(StopPublishing):
    """A newer attempt was started, or the job has left the state in which attempts may publish."""


class Cancelled(StopPublishing):
    """The job was cancelled."""


class Fence(Protocol):
    """Says whether this attempt may still publish; asked about once a second, and right before the end markers."""

    def check(self) -> None:
        """Return if the attempt may continue. Raises `Superseded`, `Cancelled`, or `RetriableError` if unknown."""
        ...


class Backlog(Protocol):
    """How far the workers have read the import topic."""

    def committed(self) -> tuple[int, ...]:
        """Committed offset of the workers' group, per partition; 0 if it has committed none.

        Blocks up to a few seconds. Raises `RetriableError` KAFKA_UNAVAILABLE.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message that the broker has acknowledged: durable, at this partition and offset."""

    partition: Partition
    offset: int
    size: int


class TopicLog(Protocol):
    """One topic, written by one attempt. Messages of a partition keep the order in which they are offered.

    Every method raises `RetriableError` KAFKA_UNAVAILABLE or `FatalError` KAFKA_REFUSED as soon as a message could not
    be delivered; from then on the attempt has failed.
    """

    @property
    def topic(self) -> str:
        """Name of the topic."""
        ...

    def partitions(self) -> int:
        """Current number of partitions of the topic. Raises `FatalError` TOPIC_MISSING."""
        ...

    def offer(self, partition: Partition, value: bytes | None, key: bytes | None = None) -> bool:
        """Queue a message; False if the queue is full: `poll`, then offer it again. Does not block."""
        ...

    def poll(self, timeout_s: float) -> tuple[Delivery, ...]:
        """Messages acknowledged since the last call; waits for more up to the timeout."""
        ...

    def flush(self, timeout_s: float) -> tuple[Delivery, ...]:
        """Like `poll`, but sends queued messages without waiting for fuller batches."""
        ...

    def unacknowledged(self) -> int:
        """Messages queued or in flight."""
        ...

    def abandon(self) -> None:
        """Drop messages that are queued but not in flight; called once, when the attempt stops early."""
        ...
