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
from collections import deque
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from schemas.codec import CODEC, UndecodableError
from schemas.errors import FatalError, UserError
from schemas.ids import Partition
from schemas.layout import s3_uri
from schemas.messages import DeadLetter, Message
from schemas.metrics import (
    ACTIVITY,
    ACTIVITY_ROWS,
    CHANGES,
    CHECKPOINT_BYTES,
    EVALUATED_TO,
    EVALUATED_USERS,
    TAIL_BYTES,
    Sample,
)
from schemas.segment_messages import (
    ArchiveWritten,
    AudienceActivated,
    CutRequested,
    MembershipChanges,
    OwnerStarted,
    RuleActivated,
    SegmentDeleted,
    SegmentPaused,
)
from schemas.topics import ARCHIVE, DEAD_LETTERS, EVENTS, MEMBERSHIP_CHANGES, PROFILES, SEGMENT_ACTIVATIONS
from segmentation.archiving import archive_files
from segmentation.intake.events import take_events
from segmentation.intake.profiles import take_profiles
from segmentation.intake.topic_record import Move, TopicRecord
from segmentation.partitions.change_log import ChangeLog, messages, told_of
from segmentation.partitions.checkpoint import Checkpoint
from segmentation.partitions.partition import PartitionSegments, Told
from segmentation.partitions.place import Place
from segmentation.partitions.recovery import Recovery
from segmentation.partitions.tenant import Past
from streams.lanes import Lane
from streams.segments import checkpoints
from streams.segments.config import SegmentWorkerConfig
from streams.segments.cuts import Cuts
from streams.segments.ports import Log, Ports
from streams.segments.reporting import Reporter
from streams.segments.tail import Piece, Tail

_log = logging.getLogger(__name__)
_KEY: Final = b""


@dataclass(slots=True)
class _Input:
    """One of the two topics: records that wait, and how far they have come."""

    lane: Lane
    tail: Tail
    taken: int
    acked: int
    waiting: deque[TopicRecord] = field(default_factory=deque)
    waiting_bytes: int = 0


@dataclass(slots=True)
class _Outcome:
    """What a fold has to say, besides the state."""

    taken: list[tuple[str, int, int]] = field(default_factory=list)
    """Topic, records, rows."""
    told: list[Told] = field(default_factory=list)
    moves: list[tuple[str, Move]] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)


class Owner:
    """Owns one partition from `run` to `close`. `run` raises what ends the process; `deliver` waits for room."""

    def __init__(
        self, partition: Partition, lanes: Mapping[str, Lane], config: SegmentWorkerConfig, ports: Ports
    ) -> None:
        self.partition = partition
        self.live = True
        self._config = config
        self._ports = ports
        self._inputs = {
            topic: _Input(
                lane=lane,
                tail=Tail(ports.archived.get((topic, partition), lane.position)),
                taken=lane.position,
                acked=lane.position,
            )
            for topic, lane in lanes.items()
        }
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._segments = PartitionSegments(partition, Place())
        self._recovery: Recovery | None = None
        self._generation = -1
        self._seq = 0
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
            Sample(metric=CHECKPOINT_BYTES, value=self._checkpoint_bytes, labels=labels),
        ]

    def close(self) -> None:
        """Somebody else may own the partition now: nothing more is acknowledged."""
        self.live = False
        for one in self._inputs.values():
            one.lane.close()
        self._changed.set()
        self._room.set()

    async def deliver(self, record: TopicRecord) -> None:
        """One record, in order. Returns when the next may come."""
        one = self._inputs[record.topic]
        one.waiting.append(record)
        one.waiting_bytes += len(record.value or b"")
        self._changed.set()
        while self.live and one.waiting_bytes > self._config.queue_bytes:
            self._room.clear()
            await self._room.wait()

    async def run(self) -> None:
        """Until `close`. Raises `FatalError` OWNER_REPLACED, RETENTION_LOST, and what S3 and the broker raise."""
        try:
            await self.start()
            while self.live:
                await self.step()
        finally:
            await self._changes.stop()
            await self._activations.stop()

    # --- taking over -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take over from whoever owned the partition."""
        started = OwnerStarted(partition=self.partition, worker=self._config.name, started_at_us=self._ports.now_us())
        (self._generation,) = await self._send_all([(MEMBERSHIP_CHANGES, self.partition, _KEY, started)])
        found = await self._ports.in_thread(
            checkpoints.latest, self._ports.store, self._config.staging_bucket, self.partition
        )
        starts = {topic: one.lane.position for topic, one in self._inputs.items()}
        if found is None:
            place = Place(events=starts[EVENTS], profiles=starts[PROFILES])
            found = Checkpoint(segments=PartitionSegments(self.partition, place), generation=-1, changes=0, next_seq=0)
        self._segments = found.segments
        recovery = Recovery(self._segments)
        self._recovery = recovery
        await self._changes.start(found.changes)
        log = ChangeLog(found.generation, found.next_seq)
        for record in await self._changes.read_to(self._generation + 1):
            message = CODEC.decode(record.value)
            assert isinstance(message, OwnerStarted | MembershipChanges)  # noqa: S101  # nobody else writes there
            if record.offset <= self._generation and log.counts(record.offset, message):
                assert isinstance(message, MembershipChanges)  # noqa: S101  # only they count
                told = told_of(message)
                recovery.told(told.tenant, told.changes, told.place)
        self._told_to = self._generation + 1
        await self._activations.start(self._segments.place.activations)
        await self._ports.in_thread(self._catch_up, starts)
        self._kept_at = self._ports.monotonic()
        _log.info(
            "partition %d: generation=%d, %s of generation %d, events from %d, profiles from %d",
            self.partition,
            self._generation,
            "without a checkpoint" if found.generation < 0 else "from a checkpoint",
            found.generation,
            starts[EVENTS],
            starts[PROFILES],
        )

    def _catch_up(self, starts: Mapping[str, int]) -> None:
        """What was acknowledged after the checkpoint does not come again: it is in the archive."""
        assert self._recovery is not None  # noqa: S101
        segments, history = self._segments, self._ports.history
        events, profiles = segments.place.events, segments.place.profiles
        for tenant in list(segments.tenants):
            for rows in history.events(tenant, self.partition, first=events, before=starts[EVENTS]):
                self._recovery.hold_back(segments.take_again(EVENTS, rows))
            for rows in history.profiles(tenant, self.partition, first=profiles, before=starts[PROFILES]):
                self._recovery.hold_back(segments.take_again(PROFILES, rows))
        segments.skip_to(events=starts[EVENTS], profiles=starts[PROFILES])

    # --- a step ----------------------------------------------------------------------------------------------------

    async def step(self) -> None:
        """Steps 1 to 5, once records have come or it is time."""
        if not self._changed.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self._config.step_s)
        self._changed.clear()
        await self._cut()
        batches = {topic: self._drain(one) for topic, one in self._inputs.items()}
        outcome = await self._ports.in_thread(self._fold, batches, self._ports.now_us())
        if not self.live:
            return
        await self._say(outcome)
        await self._activate()
        await self._archive()
        await self._report()
        await self._keep()

    def _drain(self, one: _Input) -> list[TopicRecord]:
        if one.tail.bytes > self._config.tail_bytes:
            return []
        taken: list[TopicRecord] = []
        size = 0
        while one.waiting and size < self._config.step_bytes:
            record = one.waiting.popleft()
            size += len(record.value or b"")
            taken.append(record)
        one.waiting_bytes -= size
        if one.waiting:
            self._changed.set()
        self._room.set()
        return taken

    def _fold(self, batches: Mapping[str, list[TopicRecord]], now_us: int) -> _Outcome:
        """Steps 1 and 2; in a thread."""
        out = _Outcome()
        if events := batches[EVENTS]:
            taken = take_events(events, self._config.partitions)
            out.told += self._segments.take_events(taken.rows, events[-1].offset + 1, now_us)
            self._into_tail(EVENTS, events, taken.rows)
            out.taken.append((EVENTS, len(events), taken.rows.num_rows))
            out.moves += [(EVENTS, move) for move in taken.moves]
            out.letters += _letters(events, taken.refusals, now_us)
        if profiles := batches[PROFILES]:
            changed = take_profiles(profiles, self._config.partitions)
            out.told += self._segments.take_profiles(changed.rows, profiles[-1].offset + 1, now_us)
            self._into_tail(PROFILES, profiles, changed.rows)
            out.taken.append((PROFILES, len(profiles), changed.rows.num_rows))
            out.letters += _letters(profiles, changed.refusals, now_us)
        out.told += self._segments.advance(now_us)
        return out

    def _into_tail(self, topic: str, records: list[TopicRecord], rows: Any) -> None:
        one = self._inputs[topic]
        one.taken = records[-1].offset + 1
        one.tail.add(rows, one.taken, self._ports.monotonic())

    async def _say(self, outcome: _Outcome) -> None:
        """Step 3."""
        if self._recovery is not None:
            self._recovery.hold_back(outcome.told)
            outcome.told = []
            if self._complete() and self._segments.place.reached(self._recovery.target):
                outcome.told = self._recovery.difference(self._segments)
                self._recovery = None
        sent: list[tuple[str, int | None, bytes, Message | bytes]] = [
            (topic, move.partition, move.key, move.value) for topic, move in outcome.moves
        ]
        sent += [(DEAD_LETTERS, None, letter.topic.encode(), letter) for letter in outcome.letters]
        changes: list[Message] = []
        for told in outcome.told:
            some = list(messages(told, partition=self.partition, generation=self._generation, first_seq=self._seq))
            self._seq += len(some)
            changes += some
        sent += [(MEMBERSHIP_CHANGES, self.partition, _KEY, message) for message in changes]
        offsets = await self._send_all(sent)
        if changes:
            self._told_to = offsets[-1] + 1
        self._count(outcome)

    def _count(self, outcome: _Outcome) -> None:
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
            outcome = await self._ports.in_thread(self._fold_activation, record, self._ports.now_us())
            await self._say(outcome)

    def _fold_activation(self, record: Any, now_us: int) -> _Outcome:
        out = _Outcome()
        try:
            message = CODEC.decode(record.value)
            match message:
                case CutRequested():
                    self._cuts.request(message, record.offset, self._segments.place)
                    self._segments.skip_to(activations=record.offset + 1)
                case RuleActivated() | SegmentPaused() | SegmentDeleted() | AudienceActivated():
                    out.told += self._segments.activate(message, record.offset, self._past(), now_us)
                case _:
                    raise UndecodableError(f"a {type(message).__name__} does not belong into {SEGMENT_ACTIVATIONS}")
        except (UndecodableError, UserError) as exc:
            _log.error("an activation is passed over: partition=%d offset=%d: %s", self.partition, record.offset, exc)
            self._segments.skip_to(activations=record.offset + 1)
            out.letters.append(
                DeadLetter(
                    topic=SEGMENT_ACTIVATIONS,
                    partition=self.partition,
                    offset=record.offset,
                    key=record.key,
                    value=record.value or b"",
                    reason=str(exc),
                    failed_at_us=now_us,
                )
            )
        return out

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

    # --- archive, acknowledgement, checkpoint -----------------------------------------------------------------------

    async def _archive(self) -> None:
        """Step 4."""
        for topic, one in self._inputs.items():
            now = self._ports.monotonic()
            committed = self._ports.archived.get((topic, self.partition))
            if committed is not None:
                self._check_archive(topic, committed, one.acked)
                one.tail.committed(committed, now)
            one.tail.retry(now, self._config.archive_again_s)
            due = one.tail.due(now, bytes_=self._config.archive_bytes, after_s=self._config.archive_after_s)
            if due is not None:
                files = await self._ports.in_thread(self._write, topic, due)
                written = ArchiveWritten(
                    topic=topic, partition=self.partition, first_offset=due.first, end_offset=due.end, files=files
                )
                await self._send_all([(ARCHIVE, None, f"{topic}/{self.partition}".encode(), written)])
                one.tail.announced(due.end, self._ports.monotonic())
            upto = min(one.tail.archived_to, one.taken)
            if upto > one.acked:
                one.lane.done(range(one.acked, upto))
                one.acked = upto

    def _check_archive(self, topic: str, archived_to: int, acked: int) -> None:
        if archived_to < acked:
            raise FatalError(
                "ARCHIVE_GAP",
                f"{topic}/{self.partition}: the archive ends at offset {archived_to}, but the group has committed "
                f"{acked}: the group's offset was moved, or the lake is of an older backup. Set the offset of the "
                f"group to {archived_to}, or as close to it as the log still goes.",
                topic=topic,
                partition=self.partition,
                archived_to=archived_to,
                committed=acked,
            )

    def _write(self, topic: str, piece: Piece) -> tuple[str, ...]:
        files = []
        for file in archive_files(topic, self.partition, piece.rows, first_offset=piece.first, end_offset=piece.end):
            self._ports.store.put_new(self._config.lake_bucket, str(file.key), file.content)
            files.append(s3_uri(self._config.lake_bucket, str(file.key)))
        return tuple(files)

    async def _cut(self) -> None:
        """Cuts that are due, one by one: each is told what led to it, and nothing else, before it is announced."""
        while self._recovery is None and self._cuts.due(self._ports.now_us()):
            told, cut = await self._ports.in_thread(self._cuts.take, self._segments)
            await self._say(_Outcome(told=told))
            topic, key, message = await self._ports.in_thread(self._reporter.cut, cut, self._ports, self._told_to)
            await self._send_all([(topic, None, key, message)])

    async def _report(self) -> None:
        if self._recovery is None:
            reports = list(self._reporter.sizes(self._segments, self._ports.monotonic()))
            await self._send_all([(topic, None, key, message) for topic, key, message in reports])

    async def _keep(self) -> None:
        """Step 5. What was told must be of ours: an owner that was replaced writes no checkpoint."""
        if self._recovery is not None or self._ports.monotonic() - self._kept_at < self._config.checkpoint_after_s:
            return
        self._kept_at = self._ports.monotonic()
        new = replace(self._segments.place, at_us=0), self._told_to
        if new == self._kept:
            return  # time alone went on: whoever comes next finds that out by itself
        for record in await self._changes.read_to(self._told_to):
            if record.offset > self._generation and isinstance(CODEC.decode(record.value), OwnerStarted):
                raise FatalError(
                    "OWNER_REPLACED",
                    f"{MEMBERSHIP_CHANGES}/{self.partition}: another worker has taken over at offset {record.offset}; "
                    "this one ends, to be started again",
                    partition=self.partition,
                )
        checkpoint = Checkpoint(
            segments=self._segments, generation=self._generation, changes=self._told_to, next_seq=self._seq
        )
        self._checkpoint_bytes = await self._ports.in_thread(
            checkpoints.keep, self._ports.store, self._config.staging_bucket, checkpoint
        )
        self._kept = new
        _log.info("partition %d: kept a checkpoint, %d bytes", self.partition, self._checkpoint_bytes)

    async def _send_all(self, sent: Iterable[tuple[str, int | None, bytes, Message | bytes]]) -> list[int]:
        """Hand over in order; the offsets, once the broker has acknowledged all."""
        waiting: list[Awaitable[int]] = []
        for topic, partition, key, message in sent:
            value = message if isinstance(message, bytes) else CODEC.encode(message)
            waiting.append(await self._ports.send(topic, partition, key, value))
        return list(await asyncio.gather(*waiting))


def _letters(records: list[TopicRecord], refusals: Iterable[Any], now_us: int) -> list[DeadLetter]:
    by_offset = {record.offset: record for record in records}
    return [by_offset[refusal.offset].dead_letter(refusal, now_us) for refusal in refusals]
