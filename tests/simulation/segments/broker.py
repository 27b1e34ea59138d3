"""Kafka as workers of segments see it: records with keys and times, offsets without a record, and readers of logs."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any, Final

from faust.types import TP

from connectors.kafka.log_offsets import PartitionKey
from orchestration.control.producer import Outgoing
from schemas.codec import CODEC
from schemas.ids import Partition
from schemas.topics import ACTIVITY_TOPICS, MEMBERSHIP_CHANGES, SEGMENT_ACTIVATIONS
from segmentation.intake.topic_records import TopicRecord
from streams.record_batches import WholeBatch
from tests.fakes.record_batches import in_a_batch
from tests.simulation.log import Broker, unavailable

PARTITIONED: Final = frozenset({*ACTIVITY_TOPICS, MEMBERSHIP_CHANGES, SEGMENT_ACTIVATIONS})
"""Topics with the partitions of events; others have one."""
LONG_S: Final = 3_600.0
LATE_S: Final = (1.0, 150.0)
Unsent = tuple[str, int, bytes, bytes]
"""Topic, partition, key, value."""


@dataclass
class SegmentBroker(Broker):
    """`records` has what the logs have, and None at an offset without a record: a transaction's marker."""

    records: dict[PartitionKey, list[Any]] = field(default_factory=dict)
    put_at: Callable[[PartitionKey, Any], None] = lambda _place, _record: None
    waiting: dict[PartitionKey, list[Callable[[], object]]] = field(default_factory=dict)
    """Called once, at the next record."""

    def put(self, topic: str, partition: int | None, key: bytes, value: bytes | None) -> int:
        """Append a record and return its offset."""
        return self.put_batch(topic, partition, [(key, value)])

    def put_batch(self, topic: str, partition: int | None, values: Sequence[tuple[bytes, bytes | None]]) -> int:
        """Append a batch of records and return the offset of the last one."""
        place = topic, partition if partition is not None and topic in PARTITIONED else 0
        base = len(self.log(*place))
        for offset, (key, value) in enumerate(values, base):
            record = SimpleNamespace(
                offset=offset,
                key=key,
                value=value,
                timestamp=self.ports.kernel.now_us // 1000,
                timestamp_type=1,
                batch=(base, len(values)),
            )
            self.log(*place).append(value or b"")
            self.of(place).append(record)
            self.put_at(place, record)
        for wake in self.waiting.pop(place, ()):
            wake()
        return base + len(values) - 1

    def mark(self, topic: str, partition: int) -> None:
        """End a transaction: its marker takes up an offset."""
        self.log(topic, partition).append(b"")
        self.of((topic, partition)).append(None)

    async def arrival(self, places: Iterable[PartitionKey], loop: Any, timeout_s: float) -> None:
        """Wait for a record in one of these partitions, or for the end of a time."""
        future = loop.create_future()
        for place in places:
            self.waiting.setdefault(place, []).append(partial(loop.settle, future))
        await asyncio.wait([future], timeout=timeout_s)

    def of(self, place: PartitionKey) -> list[Any]:
        """The records of a partition."""
        return self.records.setdefault(place, [])

    def recreate(self, topics: Iterable[str], group: str) -> None:
        """Lose these topics, and the group's offsets in them."""
        for topic in topics:
            for partition in range(self.partitions):
                self.logs.pop((topic, partition), None)
                self.records.pop((topic, partition), None)
                self.committed.pop((group, (topic, partition)), None)

    def send_all(self, messages: Iterable[Unsent]) -> list[int]:
        """Send messages in order, from a producer that sends each once; returns their offsets.

        A request may be under way when its producer gives up or dies: the broker then writes it some time later.
        """
        batch = list(messages)

        def act() -> list[int]:
            return [self.put(*message) for message in batch]

        if self.ports.faults.strike("zombie producer's batch lands late"):
            self.ports.kernel.later(self.ports.faults.among(*LATE_S), act)
            raise unavailable("sending: timed out")
        return self.ports.call("log", f"send {', '.join(sorted({topic for topic, *_ in batch}))}", act, unavailable)


class ControlProducer:
    """`ControlPlaneProducer`."""

    def __init__(self, broker: SegmentBroker) -> None:
        self._broker = broker

    def send(self, messages: Iterable[Outgoing]) -> None:
        batch = [(out.topic, out.partition or 0, out.key, CODEC.encode(out.message)) for out in messages]
        if batch:
            self._broker.send_all(batch)


class WorkerProducer:
    """The producer of one worker: idempotent, so that a message comes once, and after all earlier ones."""

    def __init__(self, broker: SegmentBroker, loop: Any, spawn: Callable[[Callable[[], object]], object]) -> None:
        self._broker = broker
        self._loop = loop
        self._spawn = spawn
        self._queue: list[tuple[Unsent, asyncio.Future[int]]] = []
        self._sending = False

    async def send(self, topic: str, partition: int | None, key: bytes, value: bytes) -> Awaitable[int]:
        future = self._loop.create_future()
        self._queue.append(((topic, partition or 0, key, value), future))
        if not self._sending:
            self._sending = True
            self._spawn(self._drain)
        return future  # type: ignore[no-any-return]

    def _drain(self) -> None:
        faults = self._broker.ports.faults
        while self._queue:
            number = faults.random.randint(1, 4)
            batch, self._queue = self._queue[:number], self._queue[number:]
            try:
                offsets = self._broker.send_all([message for message, _ in batch])
            except Exception as exc:  # noqa: BLE001  # it is the caller's
                for _, future in (*batch, *self._queue):
                    self._loop.settle(future, error=exc)
                self._queue.clear()
            else:
                for (_, future), offset in zip(batch, offsets, strict=True):
                    self._loop.settle(future, offset)
        self._sending = False


class SimulatedLog:
    """`streams.segments.environment.Log`. A request takes a moment."""

    def __init__(self, broker: SegmentBroker, topic: str, partition: int, loop: Any) -> None:
        self._broker = broker
        self._loop = loop
        self._place = (topic, partition)
        self._next = 0

    async def start(self, offset: int) -> None:
        self._next = offset

    async def stop(self) -> None:
        pass

    async def begin(self) -> int:
        return 0

    async def end(self) -> int:
        await self._loop.run_in_executor(None, self._broker.ports.kernel.pause)
        return len(self._broker.of(self._place))

    async def read(self, wait_ms: int = 0) -> list[Any]:
        if not (found := self._now()) and wait_ms:
            await self._broker.arrival([self._place], self._loop, wait_ms / 1000)
            found = self._now()
        return found

    async def arrived(self) -> None:
        while self._next >= len(self._broker.of(self._place)):
            await self._broker.arrival([self._place], self._loop, LONG_S)

    async def read_to(self, end: int) -> AsyncIterator[Any]:
        del end  # further records may follow, as from a fetch
        await self._loop.run_in_executor(None, self._broker.ports.kernel.pause)
        for record in self._now():
            yield record

    def _now(self) -> list[Any]:
        found = self._broker.of(self._place)[self._next :]
        self._next += len(found)
        return [record for record in found if record is not None]


class SimulatedEnds:
    """`streams.segments.environment.Ends`."""

    def __init__(self, broker: SegmentBroker) -> None:
        self._broker = broker

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def ends(self, partitions: Iterable[TP]) -> Mapping[TP, int]:
        return {tp: len(self._broker.of((tp.topic, tp.partition))) for tp in partitions}


def fetched_from(records: list[Any], at: int, most: int) -> list[Any]:
    """The next records from an offset on, as one fetch returns them: a batch as a whole, and no offset without one."""
    found: list[Any] = []
    while at < len(records) and len(found) < most:
        if (record := records[at]) is None:
            at += 1
            continue
        base, count = record.batch
        if count > 1:
            packed = in_a_batch([_taken(one) for one in records[base : base + count]], skipped=at - base)
            record = WholeBatch(
                base=base,
                first=at,
                offset=base + count - 1,
                timestamp=record.timestamp,
                timestamp_type=1,
                value=packed.body,
            )
        found.append(record)
        at = record.offset + 1
    return found


def _taken(record: Any) -> TopicRecord:
    return TopicRecord(
        topic="",
        partition=Partition(0),
        offset=record.offset,
        key=record.key,
        value=record.value,
        received_at_us=record.timestamp * 1000,
    )
