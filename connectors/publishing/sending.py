"""Sends the messages of one attempt: within the bounded backlog, in order, and never long without asking the fence.

`PlainSender` is for topics whose readers are unknown, and for messages outside an attempt.
"""

from collections.abc import Callable, Iterable
from typing import Final

from connectors.publishing.backlog import BacklogLimit, Outstanding
from connectors.publishing.ports import Backlog, Delivery, Fence, TopicLog
from schemas.codec import CODEC
from schemas.errors import RetriableError
from schemas.ids import Partition
from schemas.messages import Message

FENCE_INTERVAL_S: Final = 1.0
BACKLOG_INTERVAL_S: Final = 0.2
BACKLOG_OUTAGE_S: Final = 120.0
"""How long the workers' position may stay unknown before the attempt fails: as long as a delivery may take."""

WAIT_S: Final = 0.05
"""Longest single wait for the broker, so the longest delay of asking the fence."""


class Sender:
    """Sends messages within the backlog, and asks the fence about once a second even while it waits."""

    def __init__(
        self,
        *,
        log: TopicLog,
        backlog: Backlog,
        fence: Fence,
        partitions: int,
        limit: BacklogLimit,
        clock: Callable[[], float],
    ) -> None:
        self._log = log
        self._backlog = backlog
        self._fence = fence
        self._limit = limit
        self.clock = clock
        self._outstanding = Outstanding(partitions)
        self._first_offsets = [-1] * partitions
        self._last_offsets = [-1] * partitions
        self._fence_due = clock()
        self._backlog_due = clock()
        self._backlog_known = clock()
        self.bytes = 0

    @property
    def topic(self) -> str:
        """Name of the topic."""
        return self._log.topic

    def last_offset(self, partition: Partition) -> int:
        """Offset of the last message in a partition that the broker has acknowledged; -1 if none."""
        return self._last_offsets[partition]

    def offsets(self) -> tuple[tuple[int, int], ...]:
        """First and last acknowledged offset of each partition; -1 if none."""
        return tuple(zip(self._first_offsets, self._last_offsets, strict=True))

    def check_fence(self) -> None:
        """Raise if this attempt has been fenced off; raises as the fence does."""
        self._fence.check()
        self._fence_due = self.clock() + FENCE_INTERVAL_S

    def send(self, partition: Partition, message: Message) -> None:
        """Queue a message, waiting for room in the backlog and in the queue."""
        self._tick()
        if self._outstanding.full(partition, self._limit):
            self._backlog_known = self.clock()
        while self._outstanding.full(partition, self._limit):
            self._collect(self._log.poll(WAIT_S))
            self._read_backlog()
            self._tick()
        value = CODEC.encode(message)
        while not self._log.offer(partition, value):
            self._collect(self._log.poll(WAIT_S))
            self._tick()
        self._outstanding.sent(partition, len(value))
        self.bytes += len(value)
        self._collect(self._log.poll(0))

    def await_acknowledgements(self) -> None:
        """Return when the broker has acknowledged every message."""
        while self._log.unacknowledged():
            self._collect(self._log.flush(WAIT_S))
            self._tick()
        self._collect(self._log.poll(0))

    def _collect(self, deliveries: Iterable[Delivery]) -> None:
        deliveries = tuple(deliveries)
        self._outstanding.delivered(deliveries)
        for delivery in deliveries:
            self._last_offsets[delivery.partition] = delivery.offset
            if self._first_offsets[delivery.partition] < 0:
                self._first_offsets[delivery.partition] = delivery.offset

    def _read_backlog(self) -> None:
        if (now := self.clock()) < self._backlog_due:
            return
        try:
            self._outstanding.committed(self._backlog.committed())
            self._backlog_known = self.clock()
        except RetriableError:
            # A position unknown for a while does no harm: nothing is sent meanwhile, and the fence is still asked.
            if now - self._backlog_known > BACKLOG_OUTAGE_S:
                raise
        self._backlog_due = self.clock() + BACKLOG_INTERVAL_S

    def _tick(self) -> None:
        if self.clock() >= self._fence_due:
            self.check_fence()


class PlainSender:
    """Sends messages in the given order, as fast as the broker accepts them."""

    def __init__(self, log: TopicLog) -> None:
        self._log = log
        self.bytes = 0

    def send(self, partition: Partition, message: Message) -> None:
        """Queue a message, waiting for room in the queue."""
        self.put(partition, CODEC.encode(message))

    def put(self, partition: Partition, value: bytes | None, key: bytes | None = None) -> None:
        """Queue a value that is encoded already."""
        while not self._log.offer(partition, value, key):
            self._log.poll(WAIT_S)
        self.bytes += len(value or b"") + len(key or b"")
        self._log.poll(0)

    def await_acknowledgements(self) -> None:
        """Return when the broker has acknowledged every message."""
        while self._log.unacknowledged():
            self._log.flush(WAIT_S)
        self._log.poll(0)
