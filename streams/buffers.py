"""Rows in memory before they are staged, bounded across all groups."""

import asyncio

from segmentation.progress import GroupKey, Progress
from streams.lanes import Lane
from streams.runs import BufferedChunk


class Group:
    """One group that this worker is receiving. `flushes`: runs being written now."""

    def __init__(self, lane: Lane, progress: Progress, now: float) -> None:
        self.lane = lane
        self.progress = progress
        self.chunks: list[BufferedChunk] = []
        self.size = 0
        self.oldest = now
        self.touched = now
        self.flushes: set[asyncio.Task[None]] = set()
        self.settling = False

    @property
    def key(self) -> GroupKey:
        """The import, attempt and partition being received."""
        return self.progress.key

    @property
    def idle(self) -> bool:
        """True if nothing of the group is in memory or in progress."""
        return not self.chunks and not self.flushes and not self.settling

    def add(self, chunk: BufferedChunk, now: float) -> None:
        """Buffer a chunk."""
        if not self.chunks:
            self.oldest = now
        self.chunks.append(chunk)
        self.size += chunk.size

    def take(self) -> list[BufferedChunk]:
        """Return all buffered chunks and empty the buffer."""
        chunks, self.chunks, self.size = self.chunks, [], 0
        return chunks


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
        self._freed.set()

    async def wait_freed(self) -> None:
        """Return once bytes have been released."""
        self._freed.clear()
        await self._freed.wait()
