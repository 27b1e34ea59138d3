"""What publishing needs from outside: the topic, the position of the workers, the word of the catalog."""

from dataclasses import dataclass
from typing import Protocol

from schemas.ids import Partition


class StopPublishing(Exception):  # noqa: N818  # a decision that was taken elsewhere, not an error
    """The attempt must stop without end markers."""


class Superseded(StopPublishing):
    """A newer attempt has been started, or the job has left the state in which attempts may publish."""


class Cancelled(StopPublishing):
    """The job has been cancelled."""


class Fence(Protocol):
    """Says whether this attempt may still publish; asked about once a second, and right before the end markers."""

    def check(self) -> None:
        """Return when the attempt may go on. Raises `Superseded`, `Cancelled`, or `RetriableError` when unknown."""
        ...


class Backlog(Protocol):
    """How far the workers have got with the import topic."""

    def taken(self) -> tuple[int, ...]:
        """Offset, per partition, before which the workers' group has taken everything; 0 where it has nothing yet.

        Blocks up to a few seconds. Raises `RetriableError` KAFKA_UNAVAILABLE.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message that the broker has acknowledged: durable, at this place."""

    partition: Partition
    offset: int
    size: int


class TopicLog(Protocol):
    """One topic, written by one attempt. Messages of a partition keep the order in which they are offered.

    Every method raises `RetriableError` KAFKA_UNAVAILABLE or `FatalError` KAFKA_REFUSED as soon as one message could
    not be delivered; from then on the attempt has failed.
    """

    @property
    def topic(self) -> str:
        """Name of the topic."""
        ...

    def partitions(self) -> int:
        """Number of partitions of the topic now. Raises `FatalError` TOPIC_MISSING."""
        ...

    def offer(self, partition: Partition, value: bytes) -> bool:
        """Queue a message; False when the queue is full: `poll`, then offer it again. Does not block."""
        ...

    def poll(self, timeout_s: float) -> tuple[Delivery, ...]:
        """What has been acknowledged since the last call; waits for some up to the timeout."""
        ...

    def flush(self, timeout_s: float) -> tuple[Delivery, ...]:
        """As `poll`, and send what is queued without waiting for fuller batches."""
        ...

    def unacknowledged(self) -> int:
        """Messages queued or in flight."""
        ...

    def abandon(self) -> None:
        """Drop what is queued and not yet in flight; called once, when the attempt stops early."""
        ...
