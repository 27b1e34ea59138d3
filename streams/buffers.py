"""Rows in memory, before they are staged: bounded over all groups together."""

import asyncio

from segmentation.progress import GroupKey, Progress
from streams.lanes import Lane
from streams.runs import BufferedChunk


class Group:
    """One group that this worker is receiving. `flushes` are the runs being written now."""

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
        """What is received."""
        return self.progress.key

    @property
    def idle(self) -> bool:
        """Nothing of it is in memory or under way."""
        return not self.chunks and not self.flushes and not self.settling

    def add(self, chunk: BufferedChunk, now: float) -> None:
        """Buffer a chunk."""
        if not self.chunks:
            self.oldest = now
        self.chunks.append(chunk)
        self.size += chunk.size

    def take(self) -> list[BufferedChunk]:
        """Everything that is buffered; the buffer is empty afterwards."""
        chunks, self.chunks, self.size = self.chunks, [], 0
        return chunks


class Budget:
    """Bytes that may be in memory at one time. One request larger than all of it is let in alone."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._freed = asyncio.Event()

    def fits(self, size: int) -> bool:
        """Whether that much may be taken now."""
        return self.used == 0 or self.used + size <= self.limit

    def take(self, size: int) -> None:
        """Count bytes as used."""
        self.used += size

    def free(self, size: int) -> None:
        """Give bytes back and wake up those who wait."""
        self.used -= size
        self._freed.set()

    async def wait_freed(self) -> None:
        """Until bytes have been given back."""
        self._freed.clear()
        await self._freed.wait()
