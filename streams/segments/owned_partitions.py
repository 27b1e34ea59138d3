"""The partitions of a worker: tasks come and go with the assignments of its consumer group, and receive its records.

All of a worker except for Faust, which `app` adds, so that simulations can run it.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final, cast

from aiokafka.errors import KafkaError
from faust.types import TP, EventT

from schemas.codec import CODEC, UndecodableError
from schemas.counters import Counters
from schemas.errors import FatalError
from schemas.ids import Partition
from schemas.metrics import Sample
from schemas.segment_messages import ArchiveCommitted
from schemas.topics import ACTIVITY_TOPICS, ARCHIVE_COMMITS
from segmentation.archived import ArchivedLog
from segmentation.intake.topic_records import RecordBatch, TopicRecord
from streams import memory
from streams.guards import Fetched
from streams.lanes import Lane
from streams.record_batches import WholeBatch
from streams.segments.config import SegmentWorkerConfig
from streams.segments.environment import TaskEnvironment, WorkerEnvironment
from streams.segments.offset_gaps import OffsetGaps, without_gaps
from streams.segments.partition_task import PartitionTask
from streams.segments.tenants import Tenants

_log = logging.getLogger(__name__)
_READ_MS: Final = 60_000


class OwnedPartitions:
    """The partition tasks of this worker, and what drives them.

    `follow_archive` and `skip_gaps` run for as long as the worker.
    """

    def __init__(self, config: SegmentWorkerConfig, environment: WorkerEnvironment) -> None:
        self._config = config
        self._environment = environment
        self._counters = Counters()
        self._archived: dict[tuple[str, int], int] = {}
        self._archive_known = asyncio.Event()
        self._logs: Mapping[str, ArchivedLog] | None = None
        self._logs_lock = asyncio.Lock()
        self._task_environment = TaskEnvironment(
            send=environment.send,
            log=environment.log,
            store=environment.store,
            history=environment.history,
            archived=self._archived,
            archived_logs=self._archived_logs,
            tenants=Tenants(environment.find_tenants),
            counters=self._counters,
            in_thread=environment.background.in_thread,
            now_us=environment.now_us,
            monotonic=environment.monotonic,
        )
        self._lanes: dict[TP, Lane] = {}
        self._gaps: dict[TP, OffsetGaps] = {}
        self._tasks: dict[int, PartitionTask] = {}

    @property
    def tasks(self) -> Mapping[int, PartitionTask]:
        """The tasks by partition."""
        return self._tasks

    def samples(self) -> list[Sample]:
        """All metrics as of now."""
        owned = [sample for task in list(self._tasks.values()) for sample in task.samples()]
        return [*self._counters.samples(), *sorted(owned, key=str)]

    # --- ownership: `streams.guards.Ownership`

    def on_revoked(self, partitions: set[TP]) -> None:
        """Acknowledge nothing more of these; a partition that loses one topic loses both."""
        for partition in {tp.partition for tp in partitions}:
            if (task := self._tasks.pop(partition, None)) is not None:
                task.close()
        for tp in partitions:
            self._lanes.pop(tp, None)
            self._gaps.pop(tp, None)

    def on_rewound(self, positions: Mapping[TP, int], generation: int) -> None:
        """Start over at these offsets."""
        own = {tp: offset for tp, offset in positions.items() if tp.topic in ACTIVITY_TOPICS}
        self.on_revoked(set(own))
        self._logs = None
        self._lanes |= {tp: Lane(tp, offset, generation) for tp, offset in own.items()}
        self._gaps |= {tp: OffsetGaps(partial(self._environment.log, tp.topic, tp.partition)) for tp in own}
        for partition in sorted({tp.partition for tp in own}):
            lanes = {topic: self._lanes.get(TP(topic, partition)) for topic in ACTIVITY_TOPICS}
            owned_lanes = {topic: lane for topic, lane in lanes.items() if lane is not None}
            if len(owned_lanes) < len(lanes):
                self.on_fault(
                    FatalError(
                        "NOT_COPARTITIONED",
                        f"partition {partition} of {' and '.join(owned_lanes)} came without the other topic: both need "
                        "the same number of partitions",
                        partition=partition,
                    )
                )
                return
            task = PartitionTask(Partition(partition), owned_lanes, self._config, self._task_environment)
            self._tasks[partition] = task
            self._environment.background.spawn(self._run(task))
        _log.info("assigned partitions=%d generation=%d", len(own), generation)

    def on_fault(self, error: FatalError) -> None:
        """Records were lost before they could be read: end with an error."""
        self._environment.fail(error)

    async def _run(self, task: PartitionTask) -> None:
        await self._archive_known.wait()
        try:
            await task.run()
        except Exception as exc:
            if task.live:
                raise
            _log.info("partition %d was closed in the middle of a step: %r", task.partition, exc)

    async def _archived_logs(self) -> Mapping[str, ArchivedLog]:
        """The archived logs, looked up once for all partition tasks of an assignment."""
        async with self._logs_lock:
            if self._logs is None:
                self._logs = await self._environment.background.in_thread(self._environment.find_logs)
            return self._logs

    def close(self) -> None:
        """Close all partition tasks; the next owners emit what is still pending."""
        self.on_revoked(set(self._lanes))

    # --- records

    async def accept(self, event: EventT[Any]) -> None:
        """Take records of one partition, in order. Returns when the next may come. Raises `FatalError`."""
        fetched = cast(Fetched, event.message)
        lane = self._lanes.get(fetched.tp)
        if lane is None or fetched.generation_id != lane.generation:
            return  # fetched before a rebalance: the partition's current owner receives them again
        received = deque(_received(fetched))
        while received:
            first = received[0].first
            if first > lane.due:
                gap = await self._gaps[fetched.tp].is_gap(lane.due, first)
                if self._lanes.get(fetched.tp) is not lane:
                    return  # as above
                if gap:
                    lane.skip_to(first)
            records = list(without_gaps(received))
            lane.deliver(first, records[-1].end, None if received else event)
            await self._tasks[fetched.partition].deliver(records)
            if not lane.live:
                return

    async def skip_gaps(self) -> None:
        """Find gaps at the ends of logs, where no later record shows that the offsets hold none.

        Once no log has gone on for a while, the heap has only what the next records need.
        """
        log_ends = self._environment.log_ends()
        await log_ends.start()
        try:
            seen: dict[TP, int] = {}
            rested = False
            while True:
                await asyncio.sleep(self._config.gap_after_s)
                idle = [
                    tp for tp, lane in self._lanes.items() if seen.get(tp) == lane.due and not self._has_waiting(tp)
                ]
                seen = {tp: lane.due for tp, lane in self._lanes.items()}
                resting = len(idle) == len(self._lanes)
                if resting and not rested:
                    await self._environment.background.in_thread(memory.release_free)
                rested = resting
                try:
                    for tp, end in (await log_ends.ends(idle)).items():
                        await self._skip_gap(tp, end)
                except KafkaError as exc:
                    _log.warning("the end offsets of %d partitions are unknown: %r", len(idle), exc)
        finally:
            await log_ends.stop()

    async def _skip_gap(self, tp: TP, log_end: int) -> None:
        lane = self._lanes.get(tp)
        if lane is None or (due := lane.due) >= log_end:
            return
        end = await self._gaps[tp].end_of_gap(due)
        if end > due and self._lanes.get(tp) is lane and lane.due == due:
            self._tasks[tp.partition].skip_to(tp.topic, end, self._environment.gap(tp, end))

    def _has_waiting(self, tp: TP) -> bool:
        task = self._tasks.get(tp.partition)
        return task is None or task.has_waiting(tp.topic)

    # --- the archive

    async def follow_archive(self) -> None:
        """Keep `_archived` current. Partition tasks wait until all announcements so far have been read."""
        reader = self._environment.log(ARCHIVE_COMMITS, 0)
        try:
            await reader.start(0)
            for topic, partition, archived_to in _ends([record async for record in reader.read_to(await reader.end())]):
                self._archived[topic, partition] = archived_to
            self._archive_known.set()
            while True:
                for topic, partition, archived_to in _ends(await reader.read(_READ_MS)):
                    # A committer that was frozen may announce an earlier end; the table itself never goes back.
                    if archived_to > self._archived.get((topic, partition), -1):
                        self._archived[topic, partition] = archived_to
        except Exception as exc:  # ends the worker: without the archive's ends nothing is acknowledged any more
            self._environment.fail(exc)
            raise
        finally:
            await reader.stop()


def _received(fetched: Fetched) -> Iterator[TopicRecord | RecordBatch]:
    """What was fetched, as intake takes it."""
    topic, partition = fetched.topic, Partition(fetched.partition)
    while fetched.records:
        record = fetched.records.popleft()
        received_at_us = record.timestamp * 1000
        if isinstance(record, WholeBatch):
            yield RecordBatch(
                topic=topic,
                partition=partition,
                base=record.base,
                first=record.first,
                end=record.offset + 1,
                received_at_us=received_at_us,
                body=record.value,
            )
        else:
            yield TopicRecord(
                topic=topic,
                partition=partition,
                offset=record.offset,
                key=record.key,
                value=record.value,
                received_at_us=received_at_us,
            )


def _ends(records: list[Any]) -> Iterator[tuple[str, Partition, int]]:
    for record in records:
        try:
            message = CODEC.decode(record.value)
        except UndecodableError as exc:
            _log.error("skipped: %s/0 offset=%d: %s", ARCHIVE_COMMITS, record.offset, exc)
            continue
        if isinstance(message, ArchiveCommitted):
            yield message.topic, message.partition, message.end_offset
