"""Reads one partition of a topic from an offset on, without a consumer group and without commits.

Only committed transactions are visible, and a log ends before the first open one.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition
from faust.types import TP

from streams.guards import READ_COMMITTED
from streams.logon import aiokafka_options

_READ_MS = 200


class LogReader:
    """Records in order, between `start` and `stop`. An expired offset means the first available one.

    Raises aiokafka's `KafkaError`, and `FatalError` LOGON_REFUSED, BROKER_NOT_TRUSTED.
    """

    def __init__(self, bootstrap: str, topic: str, partition: int) -> None:
        self._tp = TopicPartition(topic, partition)
        self._consumer = _consumer(bootstrap)
        self._next = 0

    async def start(self, offset: int) -> None:
        """Begin at an offset, or at the first available one after it."""
        await self._consumer.start()
        self._consumer.assign([self._tp])
        self._next = max(offset, await self.begin())
        self._consumer.seek(self._tp, self._next)

    async def stop(self) -> None:
        """Disconnect from the broker."""
        await self._consumer.stop()

    async def begin(self) -> int:
        """The first offset that has not expired."""
        return int((await self._consumer.beginning_offsets([self._tp]))[self._tp])

    async def end(self) -> int:
        """The offset that the next record will have."""
        return int((await self._consumer.end_offsets([self._tp]))[self._tp])

    async def read(self, wait_ms: int = 0) -> list[Any]:
        """Records (`offset`, `key`, `value`) already available, or arriving within `wait_ms`."""
        found = await self._consumer.getmany(self._tp, timeout_ms=wait_ms)
        records: list[Any] = found.get(self._tp, [])
        if records:
            self._next = records[-1].offset + 1
        return records

    async def read_to(self, end: int) -> AsyncIterator[Any]:
        """All records below an offset that the log has reached, as they come, and possibly some after it."""
        while self._next < end:
            for record in await self.read(_READ_MS):
                yield record
            # A record may be one of the broker's own markers, which the consumer does not return.
            self._next = max(self._next, int(await self._consumer.position(self._tp)))


class LogEnds:
    """Current ends of partitions. Usable between `start` and `stop`; raises `KafkaError`."""

    def __init__(self, bootstrap: str) -> None:
        self._consumer = _consumer(bootstrap)

    async def start(self) -> None:
        """Connect to the brokers."""
        await self._consumer.start()

    async def stop(self) -> None:
        """Disconnect from the brokers."""
        await self._consumer.stop()

    async def ends(self, partitions: Iterable[TP]) -> Mapping[TP, int]:
        """The offset that the next record of each will have."""
        topic_partitions = {TopicPartition(*tp): tp for tp in partitions}
        ends = await self._consumer.end_offsets(list(topic_partitions)) if topic_partitions else {}
        return {topic_partitions[tp]: int(end) for tp, end in ends.items()}


def _consumer(bootstrap: str) -> Any:
    return AIOKafkaConsumer(
        **aiokafka_options(bootstrap),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        request_timeout_ms=60_000,
        isolation_level=READ_COMMITTED,
    )
