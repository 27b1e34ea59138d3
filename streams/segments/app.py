"""The segment evaluator as a Faust app: one agent for events, one for profiles, a `PartitionTask` per partition.

Faust assigns events and profiles of a partition to the same worker, since both topics have the same number of
partitions and the same subscribers. The offsets committed are those of records in the archive.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from schemas.metrics import Sample
from schemas.topics import ACTIVITY_TOPICS, ARCHIVE, DEAD_LETTERS, MEMBERSHIP_CHANGES, SEGMENT_STATUS
from segmentation.archived import ArchivedLog
from segmentation.historical_activity import HistoricalActivity
from segmentation.warm import warm
from streams import memory
from streams.background import Background
from streams.faust_app import FaustApp
from streams.segments.config import SegmentWorkerConfig
from streams.segments.environment import WorkerEnvironment
from streams.segments.log_reader import LogEnds, LogReader
from streams.segments.owned_partitions import OwnedPartitions
from streams.segments.tenants import FindTenants
from streams.staging import staging_store


class SegmentWorker:
    """A Faust app and the partitions that it owns. `find_logs`: see `TaskEnvironment.archived_logs`; it blocks."""

    def __init__(
        self,
        config: SegmentWorkerConfig,
        history: HistoricalActivity,
        find_logs: Callable[[], Mapping[str, ArchivedLog]],
        find_tenants: FindTenants,
    ) -> None:
        store = staging_store(config.store)
        self.faust = FaustApp(
            config,
            (*ACTIVITY_TOPICS, MEMBERSHIP_CHANGES, SEGMENT_STATUS, ARCHIVE, DEAD_LETTERS),
            stopping=store.stop,
        )
        self._background = Background(config.threads, self.faust.fail)
        self._partitions = OwnedPartitions(
            config,
            WorkerEnvironment(
                send=self._send,
                log=lambda topic, partition: LogReader(config.bootstrap, topic, partition),
                log_ends=lambda: LogEnds(config.bootstrap),
                store=store,
                history=history,
                find_logs=find_logs,
                find_tenants=find_tenants,
                background=self._background,
                gap=self.faust.gap,
                fail=self.faust.fail,
                now_us=lambda: time.time_ns() // 1000,
                monotonic=time.monotonic,
            ),
        )
        self.faust.consume(ACTIVITY_TOPICS, self._partitions.accept, self._partitions, whole_batches=True)
        self.faust.app.task(self._begin)
        self.faust.app.task(self._partitions.skip_gaps)
        self.faust.app.on_before_shutdown.connect(self._shut_down)

    def samples(self) -> list[Sample]:
        """All metrics as of now."""
        return self._partitions.samples()

    async def _begin(self) -> None:
        """Partition tasks wait for the ends of the archive, and so for compiled functions."""
        await self._background.in_thread(warm)
        await self._background.in_thread(memory.release_compiler)
        await self._partitions.follow_archive()

    async def _shut_down(self, *_: Any, **__: Any) -> None:
        """Close the partitions, since the producer is about to stop."""
        self._partitions.close()

    async def _send(self, topic: str, partition: int | None, key: bytes, value: bytes) -> Awaitable[int]:
        sent = await self.faust.send(topic, key, value, partition)

        async def offset() -> int:
            return int((await sent).offset)

        return offset()
