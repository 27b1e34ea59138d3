"""Reads one partition of a topic from an offset on, without a consumer group and without commits.

Only committed transactions are visible, and a log ends before the first open one.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition
from faust.types import TP

from connectors.kafka.aiokafka_logon import aiokafka_options
from schemas.topics import ACTIVITY_TOPICS
from streams.guards import READ_COMMITTED

_READ_MS = 200
_ARRIVAL_MS: Final = 60_000
_ACTIVITY_WAIT_MS: Final = 500
_FOLLOW_WAIT_MS: Final = 10_000


class LogReader:
    """Records in order, between `start` and `stop`. An expired offset means the first available one.

    A fetch without records stays with the broker for some time, and all other requests wait behind it: so it begins
    with the first `read`, and is short for topics of which readers are asked for offsets afterwards.

    Raises aiokafka's `KafkaError`, and `FatalError` LOGON_REFUSED, BROKER_NOT_TRUSTED.
    """

    def __init__(self, bootstrap: str, topic: str, partition: int) -> None:
        self._tp = TopicPartition(topic, partition)
        self._bootstrap = bootstrap
        self._consumer: Any = None
        self._next = 0
        self._ahead: list[Any] = []

    async def start(self, offset: int) -> None:
        """Begin at an offset, or at the first available one after it."""
        wait_ms = _ACTIVITY_WAIT_MS if self._tp.topic in ACTIVITY_TOPICS else _FOLLOW_WAIT_MS
        self._consumer = _consumer(self._bootstrap, wait_ms)
        await self._consumer.start()
        self._next = max(offset, await self.begin())

    async def stop(self) -> None:
        """Disconnect from the broker, also before `start`."""
        if self._consumer is not None:
            await self._consumer.stop()

    async def begin(self) -> int:
        """The first offset that has not expired."""
        return int((await self._consumer.beginning_offsets([self._tp]))[self._tp])

    async def end(self) -> int:
        """The offset that the next record will have."""
        return int((await self._consumer.end_offsets([self._tp]))[self._tp])

    async def read(self, wait_ms: int = 0) -> list[Any]:
        """Records (`offset`, `key`, `value`) already available, or arriving within `wait_ms`."""
        if self._ahead:
            records, self._ahead = self._ahead, []
        else:
            records = await self._fetched(wait_ms)
        if records:
            self._next = records[-1].offset + 1
        return records

    async def arrived(self) -> None:
        """Wait until `read` has records. Not beside a `read` that waits, nor beside `read_to`."""
        while not self._ahead:
            self._ahead = await self._fetched(_ARRIVAL_MS)

    async def read_to(self, end: int) -> AsyncIterator[Any]:
        """All records below an offset that the log has reached, as they come, and possibly some after it."""
        while self._next < end:
            for record in await self.read(_READ_MS):
                yield record
            # A record may be one of the broker's own markers, which the consumer does not return.
            self._next = max(self._next, int(await self._consumer.position(self._tp)))

    async def _fetched(self, wait_ms: int) -> list[Any]:
        if not self._consumer.assignment():
            self._consumer.assign([self._tp])
            self._consumer.seek(self._tp, self._next)
        found = await self._consumer.getmany(self._tp, timeout_ms=wait_ms)
        records: list[Any] = found.get(self._tp, [])
        return records


class LogEnds:
    """Current ends of partitions. Usable between `start` and `stop`; raises `KafkaError`."""

    def __init__(self, bootstrap: str) -> None:
        self._consumer = _consumer(bootstrap, _ACTIVITY_WAIT_MS)

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


def _consumer(bootstrap: str, fetch_wait_ms: int) -> Any:
    return AIOKafkaConsumer(
        **aiokafka_options(bootstrap),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        request_timeout_ms=60_000,
        fetch_max_wait_ms=fetch_wait_ms,
        consumer_timeout_ms=fetch_wait_ms,  # how often the fetcher looks around without any event
        isolation_level=READ_COMMITTED,
    )
