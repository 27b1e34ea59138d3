"""A worker of segments: the real `OwnedPartitions` with its partition tasks."""

import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from faust.types import TP

from connectors.storage.access import S3Access
from schemas.errors import FatalError
from schemas.ids import TenantName
from streams.background import Background
from streams.guards import Fetched
from streams.segments.config import SegmentWorkerConfig
from streams.segments.environment import WorkerEnvironment
from streams.segments.fold import fold_records
from streams.segments.owned_partitions import OwnedPartitions
from streams.segments.partition_task import PartitionTask
from tests.simulation.group import Group
from tests.simulation.kernel import Kernel, Process
from tests.simulation.segments.archive import Archive
from tests.simulation.segments.broker import SegmentBroker, SimulatedEnds, SimulatedLog, WorkerProducer, fetched_from
from tests.simulation.stores import ObjectStore
from tests.simulation.worker import Worker

FETCHED = 3
IDLE_S = 300.0
FORESEEN = frozenset(
    {
        "OWNER_REPLACED",
        "CLOCK_SKEW",
        "ARCHIVE_GAP",  # if a late report of a frozen committer is the last one that a new worker reads
    }
)


class SimulatedBackground(Background):
    """Looks at the state of a partition after each fold, in the same step."""

    def __init__(self, fail: Callable[[Exception], None], folded: Callable[[Any], None]) -> None:
        super().__init__(1, fail)
        self._folded = folded

    async def in_thread(self, call: Callable[..., Any], *args: Any) -> Any:
        if getattr(call, "__name__", "") != fold_records.__name__:
            return await super().in_thread(call, *args)

        def fold(*given: Any) -> Any:
            out = call(*given)
            self._folded(given[0])
            return out

        return await super().in_thread(fold, *args)


class SegmentWorker(Worker):
    """One process, from its start to its death."""

    rounds = 6
    heartbeat_s = 14.0
    commit_s = 20.0

    def __init__(
        self,
        kernel: Kernel,
        process: Process,
        group: Group,
        store: ObjectStore,
        archive: Archive,
        tenants: Callable[[], Mapping[TenantName, int]],
        folded: Callable[[PartitionTask], None],
        luck: random.Random,
    ) -> None:
        super().__init__(kernel, process, group)
        broker = group.broker
        assert isinstance(broker, SegmentBroker)
        self._records = broker
        self._folded = folded
        producer = WorkerProducer(broker, self._loop, partial(kernel.spawn, process, "sender"))
        config = SegmentWorkerConfig(
            bootstrap="",
            partitions=broker.partitions,
            store=S3Access(endpoint="", region=""),
            staging_bucket="staging",
            lake_bucket="lake",
            temp=Path(),
            name=process.name,
            step_s=luck.choice((2.0, 10.0)),
            rest_s=luck.choice((20.0, 120.0)),
            gather_bytes=luck.choice((500, 1_000_000)),
            step_bytes=luck.choice((700, 1_000_000)),
            queue_bytes=luck.choice((2_000, 1_000_000)),
            archive_after_s=luck.choice((2.0, 20.0)),
            archive_again_s=luck.choice((20.0, 60.0)),
            tail_bytes=luck.choice((3_000, 1_000_000)),
            checkpoint_after_s=luck.choice((15.0, 60.0, 600.0)),
            gap_after_s=50.0,
            status_after_s=luck.choice((0.0, 10.0)),
            status_again_s=600.0,
            threads=1,
        )
        self._consumer: OwnedPartitions = OwnedPartitions(
            config,
            WorkerEnvironment(
                send=producer.send,
                log=lambda topic, partition: SimulatedLog(broker, topic, partition, self._loop),
                log_ends=lambda: SimulatedEnds(broker),
                store=store,
                history=archive,
                find_logs=archive.find_logs,
                find_tenants=tenants,
                background=SimulatedBackground(self._fail, self._look),
                gap=lambda tp, end: SimpleNamespace(ack=partial(self._acknowledge, self._generation, tp, end)),
                fail=self._fail,
                now_us=lambda: kernel.now_us + process.skew_ms * 1000,
                monotonic=lambda: kernel.now_us / 1e6,
            ),
        )

    @property
    def tasks(self) -> Mapping[int, PartitionTask]:
        """The partition tasks."""
        return self._consumer.tasks

    def rests(self, task: PartitionTask) -> bool:
        """True if a task waits for work, and not in the middle of a step for something else."""
        return not self._loop._ready and bool(task._arrived._waiters)  # type: ignore[attr-defined]

    def _duties(self) -> Sequence[Coroutine[Any, Any, object]]:
        return self._consumer.follow_archive(), self._consumer.skip_gaps()

    def _fetched(self, tp: TP, at: int) -> tuple[Any, int] | None:
        found = fetched_from(self._records.of((tp.topic, tp.partition)), at, FETCHED)
        return (Fetched(tp, found, self._generation), found[-1].offset + 1) if found else None

    def _foreseen(self, error: Exception) -> bool:
        if isinstance(error, FatalError) and error.code == "OWNER_REPLACED":
            self._records.ports.faults.saw("owner found itself replaced")
        return super()._foreseen(error) or (isinstance(error, FatalError) and error.code in FORESEEN)

    async def _await_records(self) -> None:
        await self._records.arrival(list(self._at), self._loop, IDLE_S)

    def _look(self, segments: Any) -> None:
        task = self.tasks.get(segments.partition)
        if task is not None and task.segments is segments:
            self._folded(task)
