"""Rows that only this worker has, until their part, or their run in staging, is durable. In memory they are bounded."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

from segmentation.progress import GroupKey, Progress
from streams.lanes import Lane
from streams.spool import BufferedChunk, KeptChunk, SpooledChunks


@dataclass(slots=True)
class KeptRows:
    """Chunks of one group: in memory, and in files of the spool. Their records are not acknowledged."""

    buffered: list[BufferedChunk] = field(default_factory=list)
    spooled: list[SpooledChunks] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.buffered or self.spooled)

    def chunks(self) -> Iterator[KeptChunk]:
        """All chunks, in no particular order."""
        yield from self.buffered
        for file in self.spooled:
            yield from file.chunks


class Group:
    """One group that this worker is receiving.

    `since`: when its oldest kept chunk came; `writes`: files and runs being written now; `settling`: end markers and
    aborts in progress, of which one at a time is `merging`; `overdue` is set when its topic-partition holds back too
    much, or is revoked.
    """

    def __init__(self, lane: Lane, progress: Progress, now: float) -> None:
        self.lane = lane
        self.progress = progress
        self.kept = KeptRows()
        self.size = 0
        self.since = now
        self.touched = now
        self.writes: set[asyncio.Task[None]] = set()
        self.settling = 0
        self.merging = asyncio.Lock()
        self.overdue = asyncio.Event()

    @property
    def key(self) -> GroupKey:
        """The import, attempt and partition being received."""
        return self.progress.key

    @property
    def idle(self) -> bool:
        """True if nothing of the group is kept or in progress."""
        return not self.kept and not self.writes and not self.settling

    def is_gone(self) -> bool:
        """True if its partition is revoked or its attempt aborted: nobody waits for its rows here any more."""
        return not self.lane.live or self.progress.outcome == "aborted"

    def add(self, chunk: BufferedChunk, now: float) -> None:
        """Keep a chunk in memory."""
        if not self.kept:
            self.since = now
        self.kept.buffered.append(chunk)
        self.size += chunk.size

    def take_buffered(self) -> list[BufferedChunk]:
        """Return the chunks in memory and empty the buffer."""
        chunks, self.kept.buffered, self.size = self.kept.buffered, [], 0
        return chunks

    def take(self) -> KeptRows:
        """Return everything kept; the group keeps nothing any more."""
        kept, self.kept, self.size = self.kept, KeptRows(), 0
        return kept

    async def written(self) -> None:
        """Return once nothing is being written."""
        while self.writes:
            await asyncio.wait(list(self.writes))


class Budget:
    """Limit on bytes in memory. A single request above the limit is admitted when nothing else is."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._freed = asyncio.Event()

    def fits(self, size: int) -> bool:
        """True if `size` more bytes may be taken now."""
        return self.used == 0 or self.used + size <= self.limit

    def take(self, size: int) -> None:
        """Count bytes as used."""
        self.used += size

    def free(self, size: int) -> None:
        """Release bytes and wake up waiters."""
        self.used -= size
        self.wake()

    def wake(self) -> None:
        """Let waiters look again."""
        self._freed.set()

    async def wait_freed(self) -> None:
        """Return once bytes have been released, or there is another reason to look again."""
        self._freed.clear()
        await self._freed.wait()
