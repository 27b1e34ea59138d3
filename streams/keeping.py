"""Step 3: where the rows of open groups are kept, how many, and when they are staged.

Kafka is their durable log: rows stay in memory, or in the spool when memory is short, until the part of their group is
stored. So a group that ends soon is never staged. Rows whose records would wait too long for their acknowledgement are
staged as runs: a killed worker's successor reads them all again, and importers wait for it. A topic-partition holds
back a bounded number of records and bytes, over all its imports, and no group for longer than `unacknowledged_s`.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Final

from faust.types import TP

from schemas.counters import Counters
from schemas.metrics import RUN_BYTES, RUNS
from segmentation.progress import GroupKey
from streams import memory
from streams.background import Background
from streams.buffers import Budget, Group, KeptRows
from streams.config import WorkerConfig
from streams.lanes import Lane
from streams.spool import BufferedChunk, Spool, SpooledChunks, read_spooled
from streams.staged import StagedState

_log = logging.getLogger(__name__)

_STAGED_AT_ONCE: Final = 2
"""Runs: each takes the memory of its rows and of its bytes."""


class Keeper:
    """Keeps the rows of the materialiser's groups, within one budget of bytes in memory. Lives in the event loop."""

    def __init__(
        self,
        config: WorkerConfig,
        staged: StagedState,
        groups: Mapping[tuple[TP, GroupKey], Group],
        background: Background,
        counters: Counters,
    ) -> None:
        self._config = config
        self._staged = staged
        self._groups = groups
        self._background = background
        self._counters = counters
        self._spool_files = Spool(config.temp)
        self._budget = Budget(config.buffer_bytes)
        self._staging = asyncio.Semaphore(_STAGED_AT_ONCE)

    @property
    def buffered_bytes(self) -> int:
        """Rows in memory, including those being written or merged."""
        return self._budget.used

    async def await_room(self, lane: Lane, size: int) -> None:
        """Return once `size` more bytes of a lane may be kept, or the lane is closed."""
        while lane.live:
            if not self._budget.fits(size):
                self._make_room()
            elif lane.kept_bytes and lane.kept_bytes + size > self._config.unacknowledged_bytes:
                self.stage_lane(lane)
            else:
                return
            await self._budget.wait_freed()

    def keep(self, group: Group, chunk: BufferedChunk) -> None:
        """Keep a chunk that `await_room` made room for."""
        self._budget.take(chunk.size)
        group.lane.keep(chunk.offset, chunk.size)
        group.add(chunk, time.monotonic())
        if group.size >= self._config.run_bytes:
            self._spool_chunks(group)
        elif self._budget.used > self._config.buffer_bytes // 2:
            self._make_room()

    def stage_what_is_due(self, lane: Lane) -> None:
        """Stage all of a lane if it holds back too much."""
        if (
            lane.pending >= self._config.unacknowledged_records
            or lane.kept_bytes >= self._config.unacknowledged_bytes // 2
        ):
            self.stage_lane(lane)

    def stage_lane(self, lane: Lane) -> None:
        """Stage everything kept of a lane, except for what is being merged."""
        for (tp, _), group in self._groups.items():
            if tp == lane.tp and not group.writes:  # else a slow store would get a run per chunk
                group.overdue.set()
                self.stage(group)

    def stage_old(self, group: Group, now: float) -> None:
        """Stage everything kept of a group if some of it has waited too long."""
        if group.kept and now - group.since >= self._config.unacknowledged_s:
            self.stage(group)

    def stage(self, group: Group) -> None:
        """Write everything kept of a group as runs."""
        for chunks in _sources(group.take()):
            self._write(group, self._stage(group.key, group.lane, chunks))

    async def stage_kept(self, key: GroupKey, lane: Lane, kept: KeptRows) -> None:
        """Write rows that were taken from a group as runs."""
        await asyncio.gather(*(self._stage(key, lane, chunks) for chunks in _sources(kept)))

    def discard(self, kept: KeptRows) -> list[int]:
        """Forget rows that are durable now, or not needed any more; returns the offsets of their records."""
        for file in kept.spooled:
            file.path.unlink(missing_ok=True)
        self._budget.free(sum(chunk.size for chunk in kept.buffered))
        return [chunk.offset for chunk in kept.chunks()]

    def _make_room(self) -> None:
        if not any(group.writes for group in self._groups.values()):
            largest = max(self._groups.values(), key=lambda g: g.size, default=None)
            if largest is not None:
                self._spool_chunks(largest)

    def _spool_chunks(self, group: Group) -> None:
        if chunks := group.take_buffered():
            self._write(group, self._spool(group, chunks))

    def _write(self, group: Group, writing: Coroutine[Any, Any, None]) -> None:
        def written(task: asyncio.Task[None]) -> None:
            group.writes.discard(task)
            if group.lane.live:
                self.stage_what_is_due(group.lane)  # no further record may come to do it
            self._budget.wake()  # whoever waits for room may have found nothing to write but this

        task = self._background.spawn(writing)
        group.writes.add(task)
        task.add_done_callback(written)

    async def _spool(self, group: Group, chunks: list[BufferedChunk]) -> None:
        try:
            file = await self._background.in_thread(self._spool_files.write, chunks)
        except OSError as exc:
            _log.warning("cannot write to the spool, so rows are staged at once: %s", exc)
            await self._stage(group.key, group.lane, chunks)
            return
        self._budget.free(sum(chunk.size for chunk in chunks))
        if group.lane.live:
            group.kept.spooled.append(file)
        else:
            file.path.unlink(missing_ok=True)

    async def _stage(self, key: GroupKey, lane: Lane, chunks: Sequence[BufferedChunk] | SpooledChunks) -> None:
        kept = KeptRows(spooled=[chunks]) if isinstance(chunks, SpooledChunks) else KeptRows(buffered=list(chunks))
        size = sum(chunk.size for chunk in kept.chunks())
        started = time.monotonic()
        try:
            async with self._staging:
                await self._background.in_thread(self._write_run, key, chunks)
        except BaseException:
            # The worker ends. Until then, nothing that relies on these rows (such as an intent) may become durable.
            lane.close()
            raise
        finally:
            offsets = self.discard(kept)
        lane.done(offsets)
        self._counters.add(RUNS)
        self._counters.add(RUN_BYTES, size)
        _log.debug(
            "staged import=%s partition=%d chunks=%d bytes=%d seconds=%.3f",
            *(key.import_id, key.partition, len(offsets), size, time.monotonic() - started),
        )

    def _write_run(self, key: GroupKey, chunks: Sequence[BufferedChunk] | SpooledChunks) -> None:
        self._staged.write_run(key, read_spooled(chunks) if isinstance(chunks, SpooledChunks) else chunks)
        memory.release_free()  # what has piled up between the blocks in use since the last run


def _sources(kept: KeptRows) -> list[Sequence[BufferedChunk] | SpooledChunks]:
    """Each makes one run."""
    return [*kept.spooled, *([kept.buffered] if kept.buffered else [])]
