"""Import messages -> kept or staged rows -> merges: the shell around `segmentation.progress`, without decisions.

Steps (numbered as in docs/delivery-guarantees.md; 3 is `streams.keeping`, 5 to 8 are in `streams.merges`):
1. A record is decoded and entered into its lane's ledger. An undecodable or inconsistent record becomes a dead letter.
2. A chunk that the fold has not seen is kept; its record is acknowledged only after step 3 or 8, in offset order.
3. Kept chunks are written to staging as runs if their topic-partition holds back too many records, or for too long.
4. At the end marker the fold decides. If the counts reconcile, the kept chunks are merged, with any staged ones. If all
   are staged, or the merge has to wait too long, a merge intent is stored instead. If the counts do not reconcile, all
   chunks are staged and PartitionFailed is announced. Then the marker is acknowledged.
A worker may die between any two steps: unacknowledged records are delivered again, and staged ones are found again.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, assert_never, cast

from faust.types import TP, EventT

from schemas.codec import CODEC, UndecodableError
from schemas.counters import Counters
from schemas.errors import FatalError
from schemas.ids import Attempt, JobId, Partition
from schemas.layout import intent_prefix
from schemas.log_ids import bind, captured, ids_in
from schemas.messages import ImportAborted, ImportMessage, PartitionMaterialised, ProgressMessage, UserChunk
from schemas.metrics import BUFFERED_BYTES, CHUNKS, GROUPS, MERGES_WAITING, PARTITIONS, ROWS, Sample
from schemas.tracing import trace_of
from segmentation.progress import AnnounceAgain, Drop, Effect, GroupKey, Keep, Merge, Progress, Report, Skip, step
from streams import memory
from streams.background import Background
from streams.buffers import Group
from streams.config import WorkerConfig
from streams.decoding import Arrival, decode_import_message, rows_or_fault, warm_up
from streams.guards import Fetched
from streams.keeping import Keeper
from streams.lanes import Lane
from streams.merges import MergeRunner, PendingMerge
from streams.spool import BufferedChunk
from streams.staged import StagedState
from streams.staging import StagingStore

_log = logging.getLogger(__name__)

_TICK_S: Final = 0.2
_REST_S: Final = 10.0
"""Between two ticks while no rows are kept."""
_REPORT_S: Final = 60.0
_ABORTS_REMEMBERED: Final = 10_000


class Materialiser:
    """Owns the lanes, buffers and merges of one worker. All methods run in the event loop; none blocks it.

    `publish(topic, key, value)` returns when the broker has acknowledged the message. `fail(error)` ends the process;
    every error of the background work calls it, since a restart is the one way to recover that is tested.
    """

    def __init__(
        self,
        config: WorkerConfig,
        store: StagingStore,
        *,
        publish: Callable[[str, bytes, bytes], Awaitable[None]],
        fail: Callable[[Exception], None],
        now_us: Callable[[], int],
    ) -> None:
        self._config = config
        self._staged = StagedState(store, config.staging_bucket)
        self._publish = publish
        self._fail = fail
        self._now_us = now_us
        self._lanes: dict[TP, Lane] = {}
        self._groups: dict[tuple[TP, GroupKey], Group] = {}
        self._aborted: dict[tuple[JobId, Partition], Attempt] = {}
        self._counters = Counters()
        self._busy = asyncio.Event()
        self._background = Background(config.write_threads, fail)
        self._keeper = Keeper(config, self._staged, self._groups, self._background, self._counters)
        self._merges = MergeRunner(config, store, self._announce, fail, self._counters)

    # --- ownership: called by the guarded consumer -------------------------------------------------------------------

    def on_revoked(self, partitions: set[TP]) -> None:
        """Drop all state of the partitions; none of their records is acknowledged any more."""
        for tp in partitions:
            if (lane := self._lanes.pop(tp, None)) is not None:
                lane.close()
                keys = {key for of, key in self._groups if of == tp}
                self._merges.forget(intent_prefix(tp.topic, Partition(tp.partition)), keys)
        for group_key in [group_key for group_key in self._groups if group_key[0] in partitions]:
            self._keeper.discard(self._groups.pop(group_key).take())

    def on_rewound(self, positions: Mapping[TP, int], generation: int) -> None:
        """Start over at these offsets, and find the merges that a previous owner left to do."""
        own = {tp: offset for tp, offset in positions.items() if tp.topic in self._topics}
        self.on_revoked(set(own))
        for tp, offset in sorted(own.items()):
            self._lanes[tp] = Lane(tp, offset, generation)
            self._background.spawn(self._find_intents(self._lanes[tp]))
        _log.info("assigned partitions=%d generation=%d", len(own), generation)

    def on_fault(self, error: FatalError) -> None:
        """Records were lost before they could be read: end with an error."""
        self._fail(error)

    @property
    def _topics(self) -> tuple[str, str]:
        return (self._config.import_topic, self._config.small_import_topic)

    # --- records -----------------------------------------------------------------------------------------------------

    async def accept(self, event: EventT[Any]) -> None:
        """Take records of one partition, in order. Returns when the next may come. Raises `FatalError`."""
        fetched = cast(Fetched, event.message)
        lane = self._lanes.get(fetched.tp)
        if lane is None or fetched.generation_id != lane.generation:
            return  # fetched before a rebalance: the partition's current owner receives them again
        while fetched.records and lane.live:
            record = fetched.records.popleft()
            lane.deliver(record.offset, record.offset + 1, None if fetched.records else event)
            arrival = Arrival(
                lane=lane, offset=record.offset, key=record.key, value=record.value, headers=record.headers
            )
            await self._process(arrival)

    async def _process(self, arrival: Arrival) -> None:
        lane = arrival.lane
        try:
            message = decode_import_message(arrival.value, lane.tp)
        except UndecodableError as exc:
            await self._send_dead_letter(arrival, str(exc))
            return
        key = GroupKey.of(message)
        ids = {"trace": trace_of(key.import_id), **ids_in(arrival.headers)}
        bind(job=key.import_id, attempt=key.attempt, partition=key.partition, **ids)
        group = await self._group(lane, key)
        if lane.live:
            await self._apply(group, message, arrival)

    async def _apply(self, group: Group, message: ImportMessage, arrival: Arrival) -> None:
        group.touched = time.monotonic()
        state, effect = step(group.progress, message)
        match effect:
            case Keep():
                assert isinstance(message, UserChunk)  # noqa: S101  # only chunks are kept
                await self._keep(group, state, message, arrival)
            case Skip():
                group.progress = state
                group.lane.done([arrival.offset])
                if isinstance(message, UserChunk):
                    self._counters.add(CHUNKS, result="skipped")
            case Merge() | Report() | AnnounceAgain() | Drop():
                group.progress = state
                group.settling += 1
                if isinstance(message, ImportAborted):  # applies from now on, also to attempts not seen yet
                    self._remember_abort(message)
                self._background.spawn(self._settle(group, effect, message, arrival.offset))
            case _:
                assert_never(effect)
        self._keeper.stage_what_is_due(group.lane)

    async def _keep(self, group: Group, state: Progress, chunk: UserChunk, arrival: Arrival) -> None:
        """Step 2."""
        size = len(chunk.rows)
        rows = rows_or_fault(chunk)
        if isinstance(rows, str):
            self._counters.add(CHUNKS, result="buried")
            await self._send_dead_letter(arrival, rows)
            return
        await self._keeper.await_room(group.lane, size)
        if not group.lane.live:
            return
        self._counters.add(CHUNKS, result="kept")
        self._counters.add(ROWS, chunk.count)
        group.progress = state
        self._busy.set()
        self._keeper.keep(
            group, BufferedChunk(seq=chunk.seq, digest=chunk.digest, batch=rows, size=size, offset=arrival.offset)
        )

    async def _send_dead_letter(self, arrival: Arrival, reason: str) -> None:
        """Send the dead letter first, acknowledge after."""
        tp = arrival.lane.tp
        _log.warning("dead letter topic=%s partition=%d offset=%d reason=%s", *tp, arrival.offset, reason)
        letter = CODEC.encode(arrival.dead_letter(reason, self._now_us()))
        await self._publish(self._config.dead_letter_topic, tp.topic.encode(), letter)
        arrival.lane.done([arrival.offset])

    async def _group(self, lane: Lane, key: GroupKey) -> Group:
        """The group of a message; for a group that is new to this owner, staging is read."""
        group_key = (lane.tp, key)
        if (group := self._groups.get(group_key)) is None:
            if self._aborted.get((key.import_id, key.partition), 0) >= key.attempt:
                progress = Progress.resume(key, aborted=True)
            else:
                progress = await self._background.in_thread(self._staged.resume, key)
            group = Group(lane, progress, time.monotonic())
            if lane.live:
                self._groups[group_key] = group
        return group

    # --- time --------------------------------------------------------------------------------------------------------

    async def tick(self) -> None:
        """Stage old chunks, forget idle groups, log the metrics. Runs until cancelled."""
        reported = time.monotonic()
        await self._background.in_thread(_load_kernels)
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._busy.wait(), _REST_S)
            await asyncio.sleep(_TICK_S)
            now = time.monotonic()
            if now - reported >= _REPORT_S:
                reported = now
                _log.info("metrics %s", " ".join(map(str, self.samples())))
            for group_key, group in list(self._groups.items()):
                self._keeper.stage_old(group, now)
                if group.idle and now - group.touched >= self._config.idle_group_s:
                    del self._groups[group_key]
            if self._busy.is_set() and all(group.idle for group in self._groups.values()):
                self._busy.clear()
                await self._background.in_thread(memory.release_free)

    # --- end markers and aborts (step 4) -----------------------------------------------------------------------------

    async def _settle(self, group: Group, effect: Effect, message: ImportMessage, offset: int) -> None:
        """Carry out the effect of the end marker or the abort, then acknowledge it."""
        done = [offset]
        try:
            if isinstance(effect, Report):
                self._keeper.stage(group)
            await group.written()
            if not group.lane.live:
                return
            match effect:
                case Merge():
                    async with group.merging:
                        done += await self._merge(group, effect)
                case Report():
                    failed = effect.failure
                    _log.error(
                        "failed import=%s attempt=%d partition=%d reason=%s",
                        *(failed.import_id, failed.attempt, failed.partition, failed.reason),
                    )
                    await self._announce(failed)
                case AnnounceAgain():
                    await self._announce_again(group.key)
                case Drop():
                    assert isinstance(message, ImportAborted)  # noqa: S101  # only aborts drop
                    await self._drop(group.lane, message)
            group.lane.done(done)
        finally:
            group.settling -= 1

    async def _merge(self, group: Group, effect: Merge) -> list[int]:
        """Merge a group that has reconciled, or store the intent to. Returns the offsets that it acknowledges."""
        lane, marker = group.lane, effect.marker
        if group.is_gone():
            return []
        if group.progress.outcome == "finished":  # by an earlier copy of this marker
            await self._announce_again(group.key)
            return []
        if group.kept or not marker.chunks:
            pending = PendingMerge(marker=marker, kept=group.take(), ids=captured())
            group.overdue.clear()
            self._merges.submit(pending)
            await self._merged_or_overdue(group, pending)
            if not self._merges.withdraw(pending):
                await pending.finished.wait()
                if group.progress.outcome == "reconciled":
                    group.progress = Progress.resume(group.key, finished=True)
                return self._keeper.discard(pending.kept)
            if group.is_gone():
                return self._keeper.discard(pending.kept)
            await self._keeper.stage_kept(group.key, lane, pending.kept)
            if group.is_gone():
                return []
        intent = await self._background.in_thread(self._staged.write_intent, lane.tp.topic, marker)
        if lane.live:
            self._merges.submit_intent(intent)
        return []

    async def _announce_again(self, key: GroupKey) -> None:
        if (result := await self._background.in_thread(self._staged.result, key)) is not None:
            await self._publish(self._config.progress_topic, key.import_id.encode(), result)

    async def _merged_or_overdue(self, group: Group, pending: PendingMerge) -> None:
        """Return once a merge is finished, or its rows should not wait for it any longer."""
        ends = [asyncio.ensure_future(event.wait()) for event in (pending.finished, group.overdue)]
        longest = max(0.0, self._config.unacknowledged_s - (time.monotonic() - group.since))
        try:
            await asyncio.wait(ends, timeout=longest, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()

    async def _find_intents(self, lane: Lane) -> None:
        intents = await self._background.in_thread(self._staged.intents, lane.tp.topic, Partition(lane.tp.partition))
        if lane.live:
            for intent in intents:
                self._merges.submit_intent(intent)

    def _remember_abort(self, abort: ImportAborted) -> None:
        self._aborted[abort.import_id, abort.partition] = abort.attempt
        while len(self._aborted) > _ABORTS_REMEMBERED:
            del self._aborted[next(iter(self._aborted))]

    async def _drop(self, lane: Lane, abort: ImportAborted) -> None:
        """Remove buffers, runs and intents of the import in this partition, of the aborted attempt and earlier ones."""
        keys = {
            GroupKey(import_id=abort.import_id, attempt=Attempt(n), partition=abort.partition)
            for n in range(1, abort.attempt + 1)
        }
        groups = [group for (tp, key), group in self._groups.items() if tp == lane.tp and key in keys]
        for group in groups:
            group.progress = Progress.resume(group.key, aborted=True)
        await self._merges.drop(keys)
        for group in groups:
            await group.written()
            async with group.merging:  # its rows may just be staged, for an intent
                lane.done(self._keeper.discard(group.take()))
        await self._merges.drop(keys)
        await self._background.in_thread(self._staged.remove, lane.tp.topic, abort)
        _log.info(
            "dropped import=%s attempt=%d partition=%d reason=%s",
            *(abort.import_id, abort.attempt, abort.partition, abort.reason),
        )

    def samples(self) -> list[Sample]:
        """All metrics as of now. Callable from any thread."""
        return [
            *self._counters.samples(),
            Sample(metric=BUFFERED_BYTES, value=self._keeper.buffered_bytes),
            Sample(metric=GROUPS, value=len(self._groups)),
            Sample(metric=MERGES_WAITING, value=self._merges.waiting),
        ]

    # --- the rest ----------------------------------------------------------------------------------------------------

    async def _announce(self, message: ProgressMessage) -> None:
        self._counters.add(
            PARTITIONS, result="materialised" if isinstance(message, PartitionMaterialised) else "failed"
        )
        await self._publish(self._config.progress_topic, message.import_id.encode(), CODEC.encode(message))


def _load_kernels() -> None:
    warm_up()
    memory.release_compiler()
