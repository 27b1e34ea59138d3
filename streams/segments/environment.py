"""What a partition task uses of its process, behind one object so that tests can drive it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from faust.types import TP

from schemas.codec import CODEC
from schemas.counters import Counters
from schemas.messages import Message
from segmentation.archived import ArchivedLog
from segmentation.historical_activity import HistoricalActivity
from streams.background import Background
from streams.lanes import Acknowledgeable
from streams.segments.tenants import FindTenants, Tenants
from streams.staging import StagingStore

Archived = Mapping[tuple[str, int], int]
"""The position below which the archive's table has all records, by topic and partition; kept current."""


class Log(Protocol):
    """One partition of a topic, read without a group: see `streams.segments.log_reader`."""

    async def start(self, offset: int) -> None:
        """Begin at an offset."""

    async def stop(self) -> None:
        """Stop reading."""

    async def begin(self) -> int:
        """The first offset that has not expired."""

    async def end(self) -> int:
        """The offset that the next record will have."""

    async def read(self, wait_ms: int = 0) -> list[Any]:
        """Records already available, or arriving within `wait_ms`."""

    async def arrived(self) -> None:
        """Wait until `read` has records."""

    def read_to(self, end: int) -> AsyncIterator[Any]:
        """All records below an offset, as they come, and possibly some at or after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEnvironment:
    """`send(topic, partition, key, value)` sends a message, in order, and returns an awaitable for its offset.

    `archived_logs()`: by topic, the log whose records the archive has. Raises `RetriableError` TOPIC_REPLACED if the
    topic has another log now.
    `in_thread(call, *args)` runs a blocking call. `now_us`: wall clock; `monotonic`: seconds of a steady clock.
    `takeover_lock`: held while an owner announces that it starts, so one at a time.
    """

    send: Callable[[str, int | None, bytes, bytes], Awaitable[Awaitable[int]]]
    log: Callable[[str, int], Log]
    store: StagingStore
    history: HistoricalActivity
    archived: Archived
    archived_logs: Callable[[], Awaitable[Mapping[str, ArchivedLog]]]
    tenants: Tenants
    counters: Counters
    in_thread: Callable[..., Awaitable[Any]]
    now_us: Callable[[], int]
    monotonic: Callable[[], float]
    takeover_lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Ends(Protocol):
    """Current ends of partitions: see `streams.segments.log_reader.LogEnds`."""

    async def start(self) -> None:
        """Connect to the brokers."""

    async def stop(self) -> None:
        """Disconnect from the brokers."""

    async def ends(self, partitions: Iterable[TP]) -> Mapping[TP, int]:
        """The offset that the next record of each will have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerEnvironment:
    """What the partitions of a worker use of its process; see also `TaskEnvironment`.

    `find_logs` and `find_tenants` block. `gap(tp, end)` acknowledges offsets below `end` that hold no record.
    `fail(error)` ends the process.
    """

    send: Callable[[str, int | None, bytes, bytes], Awaitable[Awaitable[int]]]
    log: Callable[[str, int], Log]
    log_ends: Callable[[], Ends]
    store: StagingStore
    history: HistoricalActivity
    find_logs: Callable[[], Mapping[str, ArchivedLog]]
    find_tenants: FindTenants
    background: Background
    gap: Callable[[TP, int], Acknowledgeable]
    fail: Callable[[Exception], None]
    now_us: Callable[[], int]
    monotonic: Callable[[], float]


Sent = tuple[str, int | None, bytes, Message | bytes]
"""Topic, partition (None: chosen by the key), key, and the message or its bytes."""


async def send_all(environment: TaskEnvironment, sent: Iterable[Sent]) -> list[int]:
    """Send in order; return the offsets once the broker has acknowledged all."""
    waiting: list[Awaitable[int]] = []
    for topic, partition, key, message in sent:
        value = message if isinstance(message, bytes) else CODEC.encode(message)
        waiting.append(await environment.send(topic, partition, key, value))
    return list(await asyncio.gather(*waiting))
