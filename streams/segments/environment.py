"""What the owner of a partition uses of its process, so that it can be driven by a test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from schemas.codec import CODEC
from schemas.messages import Message
from segmentation.archived import ArchivedLog
from segmentation.historical_activity import HistoricalActivity
from streams.counters import Counters
from streams.segments.tenants import Tenants
from streams.staging import StagingStore

Archived = Mapping[tuple[str, int], int]
"""The position below which the archive's table has all records, by topic and partition; it is kept current."""


class Log(Protocol):
    """One partition of a topic, read without a group: see `streams.segments.log_reader`."""

    async def start(self, offset: int) -> None:
        """Begin at an offset."""

    async def stop(self) -> None:
        """End."""

    async def begin(self) -> int:
        """The first offset that has not expired."""

    async def end(self) -> int:
        """The offset that the next record will have."""

    async def read(self, wait_ms: int = 0) -> list[Any]:
        """The records that are there, or come within a time."""

    def read_to(self, end: int) -> AsyncIterator[Any]:
        """All records below an offset, as they come, and perhaps some behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEnvironment:
    """`send(topic, partition, key, value)` hands a message over, in order, and returns what waits for its offset.

    `archived_logs()`: of each topic, the log that the archive has the records of. Raises `RetriableError`
    TOPIC_REPLACED where another one is there.
    `in_thread(call, *args)` runs what blocks. `now_us`: the clock on the wall; `monotonic`: seconds of a steady one.
    `beginning`: held by the one owner that says just now that it begins.
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
    beginning: asyncio.Lock = field(default_factory=asyncio.Lock)


Sent = tuple[str, int | None, bytes, Message | bytes]
"""Topic, partition (none: by the key), key, and the message or its bytes."""


async def send_all(environment: TaskEnvironment, sent: Iterable[Sent]) -> list[int]:
    """Hand over in order; the offsets, once the broker has acknowledged all."""
    waiting: list[Awaitable[int]] = []
    for topic, partition, key, message in sent:
        value = message if isinstance(message, bytes) else CODEC.encode(message)
        waiting.append(await environment.send(topic, partition, key, value))
    return list(await asyncio.gather(*waiting))
