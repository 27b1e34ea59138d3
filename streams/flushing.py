"""Step 3: decides when buffered chunks become runs in staging, and how much may be buffered until then."""

import logging
import time
from collections.abc import Mapping

from faust.types import TP

from schemas.metrics import RUN_BYTES, RUNS
from segmentation.progress import GroupKey
from streams.background import Background
from streams.buffers import Budget, Group
from streams.config import WorkerConfig
from streams.counters import Counters
from streams.lanes import Lane
from streams.runs import BufferedChunk
from streams.staged import StagedState

_log = logging.getLogger(__name__)


class Flusher:
    """Writes runs of the materialiser's groups, within one budget of bytes. Lives in the event loop."""

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
        self._budget = Budget(config.buffer_bytes)

    @property
    def buffered_bytes(self) -> int:
        """Rows in memory, including those of runs being written."""
        return self._budget.used

    async def await_room(self, size: int) -> None:
        """Return once `size` more bytes may be buffered."""
        while not self._budget.fits(size):
            self._make_room()
            await self._budget.wait_freed()

    def buffer(self, group: Group, chunk: BufferedChunk) -> None:
        """Buffer a chunk that `await_room` made room for; flush what is large enough."""
        self._budget.take(chunk.size)
        group.add(chunk, time.monotonic())
        if group.size >= self._config.run_bytes:
            self.flush(group)
        elif self._budget.used > self._config.buffer_bytes // 2:
            self._make_room()

    def discard(self, group: Group) -> list[BufferedChunk]:
        """Drop the buffered chunks of a group and return them."""
        self._budget.free(group.size)
        return group.take()

    def flush(self, group: Group) -> None:
        """Write the buffered chunks of a group as a run."""
        if group.chunks:
            chunks = group.take()
            task = self._background.spawn(self._stage(group, chunks))
            group.flushes.add(task)
            task.add_done_callback(group.flushes.discard)

    def flush_lane(self, lane: Lane) -> None:
        """Write the buffered chunks of all groups of a lane."""
        for (tp, _), group in self._groups.items():
            if tp == lane.tp and not group.flushes:  # else a slow store would get a run per chunk
                self.flush(group)

    def flush_old(self, group: Group, now: float) -> None:
        """Write the buffered chunks of a group if the oldest has waited `flush_after_s`."""
        if group.chunks and now - group.oldest >= self._config.flush_after_s:
            self.flush(group)

    def _make_room(self) -> None:
        if not any(group.flushes for group in self._groups.values()):
            largest = max(self._groups.values(), key=lambda g: g.size, default=None)
            if largest is not None:
                self.flush(largest)

    async def _stage(self, group: Group, chunks: list[BufferedChunk]) -> None:
        size = sum(c.size for c in chunks)
        started = time.monotonic()
        try:
            await self._background.in_thread(self._staged.write_run, group.key, chunks)
        except BaseException:
            # The worker ends. Until then, nothing that relies on these rows (such as an intent) may become durable.
            group.lane.close()
            raise
        finally:
            self._budget.free(size)
        group.lane.done([c.offset for c in chunks])
        self._counters.add(RUNS)
        self._counters.add(RUN_BYTES, size)
        _log.debug(
            "staged import=%s partition=%d chunks=%d bytes=%d seconds=%.3f",
            *(group.key.import_id, group.key.partition, len(chunks), size, time.monotonic() - started),
        )
