"""One partition while this worker owns it: its records go through the fold, and what comes of them goes out.

A step, again and again:
1. Records that have come are taken together: rows, events to be sent on, refusals (`segmentation.intake`).
2. The fold takes the rows (`segmentation.partitions`): changes of memberships, at one place of the log.
3. Changes, events to be sent on and dead letters go out; the broker has acknowledged all of them before the next step.
4. Rows go to files of the archive. Once its table has them, their records are acknowledged.
5. Now and then the state is kept as a checkpoint.
What is taken and not acknowledged comes again, to whoever owns the partition then. What was told is read back from the
log of changes (`segmentation.partitions.recovery`).
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from schemas.codec import CODEC
from schemas.errors import FatalError
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
from schemas.segment_messages import (
    OwnerStarted,
)
from schemas.topics import DEAD_LETTERS, EVENTS, MEMBERSHIP_CHANGES, PROFILES, SEGMENT_ACTIVATIONS
from segmentation.intake.topic_record import TopicRecord
from segmentation.partitions.change_log import messages
from segmentation.partitions.checkpoint import Checkpoint
from segmentation.partitions.partition import PartitionSegments
from segmentation.partitions.place import Place
from segmentation.partitions.recovery import Recovery
from segmentation.partitions.tenant import Past
from streams.lanes import Acknowledgeable, Lane
from streams.segments import checkpoints
from streams.segments.config import SegmentWorkerConfig
from streams.segments.cuts import Cuts
from streams.segments.fold import Outcome, fold_activation, fold_records
from streams.segments.inputs import Input
from streams.segments.ports import Log, Ports, Sent, send_all
from streams.segments.reporting import Reporter
from streams.segments.taking_over import KEY, TakingOver

_log = logging.getLogger(__name__)
MISSED_EVERY_S: Final = 60.0
"""How often an owner that does not arrive says what it waits for."""


class Owner:
    """Owns one partition from `run` to `close`. `run` raises what ends the process; `deliver` waits for room."""

    def __init__(
        self, partition: Partition, lanes: Mapping[str, Lane], config: SegmentWorkerConfig, ports: Ports
    ) -> None:
        self.partition = partition
        self.live = True
        self._config = config
        self._ports = ports
        self._inputs = {topic: Input(topic, partition, lane, config, ports) for topic, lane in lanes.items()}
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._segments = PartitionSegments(partition, Place())
        self._recovery: Recovery | None = None
        self._generation = -1
        self._began_at = ports.monotonic()
        self._started_at_us = 0
        self._arrived = False
        self._missed_at = self._began_at
        self._seq = 0
        self._era = 0
        self._told_to = 0
        self._changes: Log = ports.log(MEMBERSHIP_CHANGES, partition)
        self._activations: Log = ports.log(SEGMENT_ACTIVATIONS, partition)
        self._cuts = Cuts()
        self._reporter = Reporter(partition, config)
        self._kept_at = 0.0
        self._kept: tuple[Place, int] | None = None
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
            Sample(metric=EVALUATED_TO, value=self._segments.place.at_us / 1e6, labels=labels),
            Sample(metric=RECOVERY, value=self._recovering_s(), labels=labels),
            Sample(metric=CHECKPOINT_BYTES, value=self._checkpoint_bytes, labels=labels),
        ]

    def _recovering_s(self) -> float:
        return 0.0 if self._arrived else self._ports.monotonic() - self._began_at

    def close(self) -> None:
        """Somebody else may own the partition now: nothing more is acknowledged."""
        self.live = False
        for one in self._inputs.values():
            one.lane.close()
        self._changed.set()
        self._room.set()

    async def deliver(self, records: Sequence[TopicRecord]) -> None:
        """Some records of a topic (at least one), in order. Returns when the next may come."""
        one = self._inputs[records[0].topic]
        one.put(records)
        if self._has_enough():
            self._changed.set()
        while self.live and one.waiting_bytes > self._config.queue_bytes:
            self._room.clear()
            await self._room.wait()

    def waits(self, topic: str) -> bool:
        """Whether records of a topic have come that were not taken yet."""
        return self._inputs[topic].waits

    def pass_over(self, topic: str, end: int, passed: Acknowledgeable) -> None:
        """From the offset that is due in a topic up to `end`, exclusive, no record is; `passed` acknowledges them."""
        self._inputs[topic].pass_over(end, passed)
        self._changed.set()

    async def run(self) -> None:
        """Until `close`. Raises as S3, Kafka and the catalog do, and TOPIC_REPLACED.

        `FatalError` OWNER_REPLACED, OTHER_LOG, ARCHIVE_GAP, CLOCK_SKEW.
        """
        try:
            await self.start()
            while self.live:
                await self.step()
        finally:
            await self._changes.stop()
            await self._activations.stop()

    async def start(self) -> None:
        """Take over from whoever owned the partition. Does nothing where that has been given up meanwhile."""
        taking = TakingOver(self.partition, self._inputs, self._config, self._ports, self._changes, self._activations)
        if (taken := await taking.take(lambda: self.live)) is None:
            return
        self._segments, self._recovery = taken.segments, taken.recovery
        self._generation, self._started_at_us, self._era = taken.generation, taken.started_at_us, taken.era
        self._told_to = taken.generation + 1
        self._kept_at = self._ports.monotonic()

    # --- a step ----------------------------------------------------------------------------------------------------

    async def step(self) -> None:
        """Steps 1 to 5, once enough records have come or it is time."""
        if not self._changed.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self._config.step_s)
        self._changed.clear()
        await self._cut()
        batches = {topic: one.drain() for topic, one in self._inputs.items()}
        self._room.set()
        if self._has_enough():
            self._changed.set()
        outcome = await self._ports.in_thread(
            fold_records,
            self._segments,
            batches,
            self._inputs,
            self._config.partitions,
            self._ports.now_us(),
            self._ports.tenants.for_records_at_hand(),
        )
        if not self.live:
            return
        await self._say(outcome)
        await self._activate()
        for one in self._inputs.values():
            await one.archive()
        await self._report()
        await self._keep()

    def _has_enough(self) -> bool:
        """Whether a step is worth its cost, which is that of some hundred records."""
        return any(one.waiting_bytes >= self._config.gather_bytes and not one.full for one in self._inputs.values())

    async def _say(self, outcome: Outcome) -> None:
        """Step 3."""
        if self._recovery is not None:
            self._recovery.hold_back(outcome.told)
            outcome.told = []
            if self._complete() and self._segments.place.reached(self._recovery.target):
                outcome.told = self._recovery.difference(self._segments)
                self._recovery = None
                self._arrived = True
        sent: list[Sent] = [(topic, move.partition, move.key, move.value) for topic, move in outcome.moves]
        sent += [(DEAD_LETTERS, None, letter.topic.encode(), letter) for letter in outcome.letters]
        changes: list[Message] = []
        for told in outcome.told:
            some = list(messages(told, partition=self.partition, generation=self._generation, first_seq=self._seq))
            self._seq += len(some)
            changes += some
        sent += [(MEMBERSHIP_CHANGES, self.partition, KEY, message) for message in changes]
        offsets = await send_all(self._ports, sent)
        if changes:
            self._told_to = offsets[-1] + 1
        self._count(outcome)

    def _count(self, outcome: Outcome) -> None:
        counters = self._ports.counters
        for topic, records, rows in outcome.taken:
            counters.add(ACTIVITY, records, topic=topic, result="taken")
            counters.add(ACTIVITY_ROWS, rows, topic=topic)
        for topic, _ in outcome.moves:
            counters.add(ACTIVITY, topic=topic, result="moved")
        for letter in outcome.letters:
            counters.add(ACTIVITY, topic=letter.topic, result="refused")
        for told in outcome.told:
            counters.add(CHANGES, len(told.changes.user_ids), cause=told.changes.cause)

    def _complete(self) -> bool:
        """Whether the tails hold everything between the archive and the state."""
        place = self._segments.place
        return self._inputs[EVENTS].taken >= place.events and self._inputs[PROFILES].taken >= place.profiles

    async def _activate(self) -> None:
        """Messages about rules, one after the other: each is answered with all of the past."""
        if not self._complete():
            return
        for record in await self._activations.read():
            if not self.live:
                return
            outcome = await self._ports.in_thread(
                fold_activation, self._segments, self._cuts, record, self._past(), self._ports.now_us()
            )
            for letter in outcome.letters:
                _log.error(
                    "passed over: %s/%d offset=%d: %s", letter.topic, self.partition, letter.offset, letter.reason
                )
            await self._say(outcome)

    def _past(self) -> Past:
        place, events, profiles = self._segments.place, self._inputs[EVENTS].tail, self._inputs[PROFILES].tail
        return Past(
            history=self._ports.history,
            partition=self.partition,
            partitions=self._config.partitions,
            events=min(events.archived_to, place.events),
            profiles=min(profiles.archived_to, place.profiles),
            event_rows=events.rows(),
            profile_rows=profiles.rows(),
        )

    # --- reports, checkpoint -----------------------------------------------------------------------

    async def _cut(self) -> None:
        """Cuts that are due, one by one: each is told what led to it, and nothing else, before it is announced."""
        while self._recovery is None and self._cuts.due(self._ports.now_us()):
            told, cut = await self._ports.in_thread(self._cuts.take, self._segments)
            await self._say(Outcome(told=told))
            # Changes of whoever has replaced this owner may lie before `told_to`, and would be in neither.
            await self._check_not_replaced()
            topic, key, message = await self._ports.in_thread(
                self._reporter.cut, cut, self._ports, self._told_to, self._generation
            )
            await send_all(self._ports, [(topic, None, key, message)])

    async def _report(self) -> None:
        now = self._ports.monotonic()
        if self._recovery is not None and now - self._missed_at >= MISSED_EVERY_S:
            self._missed_at = now
            _log.warning(
                "partition %d: for %.0f s on the way back to %s, and at %s: until then nothing is told",
                self.partition,
                self._recovering_s(),
                self._recovery.target,
                self._segments.place,
            )
        if self._recovery is None:
            reports = list(self._reporter.sizes(self._segments, self._ports.monotonic()))
            await send_all(self._ports, [(topic, None, key, message) for topic, key, message in reports])

    async def _keep(self) -> None:
        """Step 5. What was told must be of ours: an owner that was replaced writes no checkpoint."""
        if self._recovery is not None or self._ports.monotonic() - self._kept_at < self._config.checkpoint_after_s:
            return
        self._kept_at = self._ports.monotonic()
        new = replace(self._segments.place, at_us=0), self._told_to
        if new == self._kept:
            return  # time alone went on: whoever comes next finds that out by itself
        await self._check_not_replaced()
        checkpoint = Checkpoint(
            segments=self._segments,
            generation=self._generation,
            changes=self._told_to,
            next_seq=self._seq,
            started_at_us=self._started_at_us,
            era=self._era,
        )
        self._checkpoint_bytes = await self._ports.in_thread(
            checkpoints.keep, self._ports.store, self._config.staging_bucket, checkpoint
        )
        self._kept = new
        _log.info("partition %d: kept a checkpoint, %d bytes", self.partition, self._checkpoint_bytes)

    async def _check_not_replaced(self) -> None:
        """Nobody else has begun before the end of what this owner has told. Raises `FatalError` OWNER_REPLACED."""
        async for record in self._changes.read_to(self._told_to):
            if record.offset > self._generation and isinstance(CODEC.decode(record.value), OwnerStarted):
                raise FatalError(
                    "OWNER_REPLACED",
                    f"{MEMBERSHIP_CHANGES}/{self.partition}: another worker has taken over at offset {record.offset}; "
                    "this one ends, to be started again",
                    partition=self.partition,
                )
