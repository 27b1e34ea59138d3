"""The work on one partition while this worker owns it: records are folded, and the results are sent.

Each step:
1. Take all records that have arrived: rows, events that belong to another partition, and refused records
   (`segmentation.intake`).
2. Fold the rows into the segments (`segmentation.partitions`); the membership changes hold at one position of the log.
3. Send changes, misplaced events and dead letters. The broker acknowledges all of them before the next step.
4. Write rows to files of the archive. Once its table has them, acknowledge their records.
5. From time to time, write the state as a checkpoint.
Records that were taken but not acknowledged are delivered again to the next owner, which reads emitted changes back
from the log (`segmentation.partitions.recovery`).
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from schemas.ids import Partition
from schemas.messages import Message
from schemas.metrics import (
    ACTIVITY,
    ACTIVITY_ROWS,
    CHANGES,
    CHECKPOINT_BYTES,
    EVALUATED_TO,
    EVALUATED_USERS,
    RECOVERY,
    TAIL_BYTES,
    Sample,
)
from schemas.topics import DEAD_LETTERS, EVENTS, MEMBERSHIP_CHANGES, PROFILES, SEGMENT_ACTIVATIONS
from segmentation.intake.topic_records import RecordBatch, TopicRecord
from segmentation.partitions.change_log import messages
from segmentation.partitions.checkpoint import Checkpoint
from segmentation.partitions.log_position import LogPosition
from segmentation.partitions.partition import PartitionSegments
from segmentation.partitions.recovery import Recovery
from segmentation.partitions.tenant import PartitionHistory
from streams.lanes import Acknowledgeable, Lane
from streams.segments import checkpoints
from streams.segments.change_records import check_not_replaced
from streams.segments.config import SegmentWorkerConfig
from streams.segments.environment import Log, Sent, TaskEnvironment, send_all
from streams.segments.fold import FoldResult, fold_activation, fold_records
from streams.segments.inputs import Input
from streams.segments.partition_recovery import KEY, PartitionRecovery
from streams.segments.reporting import Reporter
from streams.segments.snapshots import PendingSnapshots

_log = logging.getLogger(__name__)
WARN_EVERY_S: Final = 60.0
"""Interval of warnings while a partition has not recovered."""


class PartitionTask:
    """One partition, from `run` to `close`. Errors that end the process leave `run`; `deliver` applies backpressure."""

    def __init__(
        self, partition: Partition, lanes: Mapping[str, Lane], config: SegmentWorkerConfig, environment: TaskEnvironment
    ) -> None:
        self.partition = partition
        self.live = True
        self._config = config
        self._environment = environment
        self._inputs = {topic: Input(topic, partition, lane, config, environment) for topic, lane in lanes.items()}
        self._changed = asyncio.Event()
        self._arrived = asyncio.Event()
        self._activation: asyncio.Task[None] | None = None
        self._room = asyncio.Event()
        self._segments = PartitionSegments(partition, LogPosition())
        self._recovery: Recovery | None = None
        self._generation = -1
        self._began_at = environment.monotonic()
        self._started_at_us = 0
        self._recovered = False
        self._warned_at = self._began_at
        self._seq = 0
        self._log_epoch = 0
        self._emitted_to = 0
        self._changes: Log = environment.log(MEMBERSHIP_CHANGES, partition)
        self._activations: Log = environment.log(SEGMENT_ACTIVATIONS, partition)
        self._snapshots = PendingSnapshots()
        self._reporter = Reporter(partition, config)
        self._checkpointed_at = 0.0
        self._checkpointed: tuple[LogPosition, int] | None = None
        self._checkpoint_bytes = 0

    @property
    def segments(self) -> PartitionSegments:
        """The state, as of the last step."""
        return self._segments

    def samples(self) -> list[Sample]:
        """Gauges of the partition."""
        labels = (str(self.partition),)
        tenants = list(self._segments.tenants.values())
        return [
            Sample(metric=TAIL_BYTES, value=sum(one.tail.bytes for one in self._inputs.values()), labels=labels),
            Sample(metric=EVALUATED_USERS, value=sum(len(of.evaluator.state.index) for of in tenants), labels=labels),
            Sample(metric=EVALUATED_TO, value=self._segments.position.at_us / 1e6, labels=labels),
            Sample(metric=RECOVERY, value=self._recovering_s(), labels=labels),
            Sample(metric=CHECKPOINT_BYTES, value=self._checkpoint_bytes, labels=labels),
        ]

    def _recovering_s(self) -> float:
        return 0.0 if self._recovered else self._environment.monotonic() - self._began_at

    def close(self) -> None:
        """Stop: another worker may own the partition now, so nothing more is acknowledged."""
        self.live = False
        for one in self._inputs.values():
            one.lane.close()
        self._arrived.set()
        self._changed.set()
        self._room.set()

    async def deliver(self, records: Sequence[TopicRecord | RecordBatch]) -> None:
        """Take records of one topic (at least one), in order. Returns when there is room for more."""
        one = self._inputs[records[0].topic]
        one.put(records)
        self._arrived.set()
        if self._has_enough():
            self._changed.set()
        while self.live and one.waiting_bytes > self._config.queue_bytes:
            self._room.clear()
            await self._room.wait()

    def has_waiting(self, topic: str) -> bool:
        """True while records of a topic wait for the next step."""
        return self._inputs[topic].has_waiting

    def skip_to(self, topic: str, end: int, gap: Acknowledgeable) -> None:
        """Skip a gap: no record lies between the next offset of a topic and `end`. `gap` acknowledges the gap."""
        self._inputs[topic].skip_to(end, gap)
        self._arrived.set()
        self._changed.set()

    async def run(self) -> None:
        """Work until `close`.

        Raises as S3, Kafka and the catalog do; `RetriableError` TOPIC_REPLACED; `FatalError` OWNER_REPLACED, OTHER_LOG,
        ARCHIVE_GAP, CLOCK_SKEW.
        """
        try:
            await self.start()
            while self.live:
                await self.step()
        finally:
            if self._activation is not None:
                self._activation.cancel()
            await self._changes.stop()
            await self._activations.stop()

    async def start(self) -> None:
        """Recover the state of the previous owner. Does nothing if the partition was revoked meanwhile."""
        recovery = PartitionRecovery(
            self.partition, self._inputs, self._config, self._environment, self._changes, self._activations
        )
        if (recovered := await recovery.recover(lambda: self.live)) is None:
            return
        self._segments, self._recovery = recovered.segments, recovered.recovery
        self._generation, self._started_at_us, self._log_epoch = (
            recovered.generation,
            recovered.started_at_us,
            recovered.log_epoch,
        )
        self._emitted_to = recovered.generation + 1
        self._checkpointed_at = self._environment.monotonic()

    # --- a step ----------------------------------------------------------------------------------------------------

    async def step(self) -> None:
        """Run steps 1 to 5 once enough records have arrived, or `step_s` after the last step if there is work."""
        if not self._changed.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self._config.step_s)
        if self._at_rest():
            await self._rest()
        self._changed.clear()
        self._arrived.clear()
        await self._take_snapshots()
        batches = {topic: one.drain() for topic, one in self._inputs.items()}
        self._room.set()
        if self._has_enough():
            self._changed.set()
        outcome = await self._environment.in_thread(
            fold_records,
            self._segments,
            batches,
            self._inputs,
            self._config.partitions,
            self._environment.now_us(),
            self._environment.tenants.for_received_records(),
        )
        if not self.live:
            return
        await self._emit(outcome)
        await self._activate()
        for one in self._inputs.values():
            await one.archive()
        await self._report()
        await self._checkpoint()

    def _at_rest(self) -> bool:
        """True if there is no work until something arrives or falls due."""
        inputs = self._inputs.values()
        return self.live and self._recovery is None and self._caught_up() and all(one.at_rest for one in inputs)

    async def _rest(self) -> None:
        """Wait for a record, an activation or the next instant at which something is due; at most `rest_s`.

        All partitions end their rest at the same time, so that a worker wakes up once, and reports together.
        """
        if self._activation is None or self._activation.done():
            self._activation = asyncio.create_task(self._activations.arrived())
        rest_s = self._config.rest_s - self._environment.monotonic() % self._config.rest_s
        arrived = asyncio.create_task(self._arrived.wait())
        due_s = (min(self._segments.next_us, self._snapshots.next_us) - self._environment.now_us()) / 1e6
        try:
            await asyncio.wait(
                (arrived, self._activation),
                timeout=max(0.0, min(due_s, rest_s)),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            arrived.cancel()
        if self._activation.done():
            self._activation.result()

    def _has_enough(self) -> bool:
        """True if a step is worth its fixed cost, about that of a hundred records."""
        return any(one.waiting_bytes >= self._config.gather_bytes and not one.full for one in self._inputs.values())

    async def _emit(self, outcome: FoldResult) -> None:
        """Step 3."""
        if self._recovery is not None:
            self._recovery.hold_back(outcome.emitted)
            outcome.emitted = []
            if self._caught_up() and self._segments.position.reached(self._recovery.target):
                outcome.emitted = self._recovery.difference(self._segments)
                self._recovery = None
                self._recovered = True
        sent: list[Sent] = [(topic, move.partition, move.key, move.value) for topic, move in outcome.moves]
        sent += [(DEAD_LETTERS, None, letter.topic.encode(), letter) for letter in outcome.letters]
        changes: list[Message] = []
        for emitted in outcome.emitted:
            batch = list(messages(emitted, partition=self.partition, generation=self._generation, first_seq=self._seq))
            self._seq += len(batch)
            changes += batch
        sent += [(MEMBERSHIP_CHANGES, self.partition, KEY, message) for message in changes]
        offsets = await send_all(self._environment, sent)
        if changes:
            self._emitted_to = offsets[-1] + 1
        self._count(outcome)

    def _count(self, outcome: FoldResult) -> None:
        counters = self._environment.counters
        for topic, records, rows in outcome.folded:
            counters.add(ACTIVITY, records, topic=topic, result="taken")
            counters.add(ACTIVITY_ROWS, rows, topic=topic)
        for topic, _ in outcome.moves:
            counters.add(ACTIVITY, topic=topic, result="moved")
        for letter in outcome.letters:
            counters.add(ACTIVITY, topic=letter.topic, result="refused")
        for emitted in outcome.emitted:
            counters.add(CHANGES, len(emitted.changes.user_ids), cause=emitted.changes.cause)

    def _caught_up(self) -> bool:
        """True if the tails hold everything between the archive and the state."""
        position = self._segments.position
        return self._inputs[EVENTS].position >= position.events and self._inputs[PROFILES].position >= position.profiles

    async def _activate(self) -> None:
        """Apply changes of rules one by one; a new rule is evaluated over the whole past."""
        if not self._caught_up():
            return
        for record in await self._activations.read():
            if not self.live:
                return
            outcome = await self._environment.in_thread(
                fold_activation, self._segments, self._snapshots, record, self._history(), self._environment.now_us()
            )
            for letter in outcome.letters:
                _log.error("skipped: %s/%d offset=%d: %s", letter.topic, self.partition, letter.offset, letter.reason)
            await self._emit(outcome)

    def _history(self) -> PartitionHistory:
        position, events, profiles = self._segments.position, self._inputs[EVENTS].tail, self._inputs[PROFILES].tail
        return PartitionHistory(
            archive=self._environment.history,
            partition=self.partition,
            partitions=self._config.partitions,
            events=min(events.archived_to, position.events),
            profiles=min(profiles.archived_to, position.profiles),
            event_rows=events,
            profile_rows=profiles,
        )

    # --- reports, checkpoint -----------------------------------------------------------------------

    async def _take_snapshots(self) -> None:
        """Take the snapshots that are due. The changes up to each are emitted before it is announced."""
        while self._recovery is None and self._snapshots.due(self._environment.now_us()):
            emitted, snapshot = await self._environment.in_thread(self._snapshots.take, self._segments)
            await self._emit(FoldResult(emitted=emitted))
            # Changes of a newer owner may lie before `_emitted_to`, and would be in neither.
            await self._check_not_replaced()
            announced = await self._environment.in_thread(
                self._reporter.cut, snapshot, self._environment, self._emitted_to, self._generation
            )
            await send_all(self._environment, [announced])

    async def _report(self) -> None:
        now = self._environment.monotonic()
        if self._recovery is None:
            await send_all(self._environment, self._reporter.sizes(self._segments, now))
        elif now - self._warned_at >= WARN_EVERY_S:
            self._warned_at = now
            _log.warning(
                "partition %d: for %.0f s recovering to %s, now at %s; no changes are emitted until then",
                self.partition,
                self._recovering_s(),
                self._recovery.target,
                self._segments.position,
            )

    async def _checkpoint(self) -> None:
        """Step 5. An owner that was replaced writes no checkpoint."""
        now = self._environment.monotonic()
        if self._recovery is not None or now - self._checkpointed_at < self._config.checkpoint_after_s:
            return
        self._checkpointed_at = now
        new = replace(self._segments.position, at_us=0), self._emitted_to
        if new == self._checkpointed:
            return  # only time has passed, which the next owner finds out without a checkpoint
        await self._check_not_replaced()
        checkpoint = Checkpoint(
            segments=self._segments,
            generation=self._generation,
            changes=self._emitted_to,
            next_seq=self._seq,
            started_at_us=self._started_at_us,
            log_epoch=self._log_epoch,
        )
        self._checkpoint_bytes = await self._environment.in_thread(
            checkpoints.save, self._environment.store, self._config.staging_bucket, checkpoint
        )
        self._checkpointed = new
        _log.info("partition %d: wrote a checkpoint of %d bytes", self.partition, self._checkpoint_bytes)

    async def _check_not_replaced(self) -> None:
        """Raise `FatalError` OWNER_REPLACED if another owner began before the last change that this one emitted."""
        async for record in self._changes.read_to(self._emitted_to):
            check_not_replaced(self.partition, self._generation, record)
