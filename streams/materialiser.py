"""Import messages -> staged runs -> merges: the shell around `segmentation.progress`. It decides nothing of its own.

Steps (the numbers are those of docs/delivery-guarantees.md; `streams.merges` has 5 to 8):
1. A record is decoded and counted into its lane. What cannot be decoded, or lies about itself, is a dead letter.
2. A chunk that the fold has not seen is buffered; its record is acknowledged only after step 3, in offset order.
3. Buffered chunks are written to staging as a run: by bytes, by age, by number of waiting records, or to make room.
4. At the end marker everything buffered is staged, then the fold judges. Reconciled: a merge intent is stored. Not
   reconciled: PartitionFailed is announced. Then the marker is acknowledged.
A worker may die between any two steps: what is not acknowledged comes again, what is staged is found again.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar, assert_never

import pyarrow as pa
from faust.types import TP, EventT

from schemas.codec import CODEC, UndecodableError
from schemas.errors import FatalError
from schemas.ids import Attempt, JobId, Partition
from schemas.layout import intent_key, intent_prefix, result_key, staging_prefix
from schemas.messages import (
    DeadLetter,
    ImportAborted,
    ImportEnded,
    ImportStarted,
    Message,
    ProgressMessage,
    UserChunk,
)
from schemas.rows import chunk_fault, decode_rows
from segmentation.progress import AnnounceAgain, Drop, Effect, GroupKey, Keep, Merge, Progress, Report, Skip, step
from streams.buffers import Budget, Group
from streams.config import WorkerConfig
from streams.lanes import Lane
from streams.merges import Intent, MergeRunner
from streams.runs import BufferedChunk, encode_run, find_runs, schema_of
from streams.staging import S3Store

_log = logging.getLogger(__name__)

T = TypeVar("T")
_TICK_S: Final = 0.2
_ABORTS_REMEMBERED: Final = 10_000


class Materialiser:
    """Owns the lanes, buffers and merges of one worker. All methods run in the event loop, none blocks it.

    `publish(topic, key, value)` returns when the broker has acknowledged the message. `fail(error)` ends the process;
    it is called for every error of the background work, since a restart is the one way to recover that is tested.
    """

    def __init__(
        self,
        config: WorkerConfig,
        store: S3Store,
        *,
        publish: Callable[[str, bytes, bytes], Awaitable[None]],
        fail: Callable[[Exception], None],
        now_us: Callable[[], int],
    ) -> None:
        self._config = config
        self._store = store
        self._publish = publish
        self._fail = fail
        self._now_us = now_us
        self._lanes: dict[TP, Lane] = {}
        self._groups: dict[tuple[TP, GroupKey], Group] = {}
        self._aborted: dict[tuple[JobId, Partition], Attempt] = {}
        self._budget = Budget(config.buffer_bytes)
        self._pool = ThreadPoolExecutor(config.flush_threads, thread_name_prefix="flush")
        self._tasks: set[asyncio.Task[None]] = set()
        self._merges = MergeRunner(config, store, self._announce, fail)

    # --- ownership: called by the guarded consumer -------------------------------------------------------------------

    def on_revoked(self, partitions: set[TP]) -> None:
        """Drop all state of the partitions; nothing of theirs is acknowledged from now on."""
        for tp in partitions:
            if (lane := self._lanes.pop(tp, None)) is not None:
                lane.close()
                self._merges.forget(intent_prefix(tp.topic, Partition(tp.partition)))
        for place in [place for place in self._groups if place[0] in partitions]:
            self._budget.free(self._groups[place].size)
            self._groups.pop(place).take()

    def on_rewound(self, positions: Mapping[TP, int], generation: int) -> None:
        """Start anew at these offsets, and find the merges that were left to do."""
        ours = {tp: offset for tp, offset in positions.items() if tp.topic in self._topics}
        self.on_revoked(set(ours))
        for tp, offset in sorted(ours.items()):
            self._lanes[tp] = Lane(tp, offset, generation)
            self._spawn(self._find_intents(self._lanes[tp]))
        _log.info("assigned partitions=%d generation=%d", len(ours), generation)

    @property
    def _topics(self) -> tuple[str, str]:
        return (self._config.import_topic, self._config.small_import_topic)

    # --- records -----------------------------------------------------------------------------------------------------

    async def accept(self, event: EventT[Any]) -> None:
        """One record, in the order of its partition. Returns when the next may come. Raises `FatalError`."""
        record = event.message
        lane = self._lanes.get(record.tp)
        if lane is None or record.generation_id != lane.generation:
            return  # fetched before a rebalance: it comes again, to whoever owns the partition now
        lane.deliver(record.offset, event)
        value = record.value
        record.value = event.value = None  # the event waits for its acknowledgement; its bytes need not
        try:
            message = CODEC.decode(value)
            key = _group_of(message, lane.tp)
        except UndecodableError as exc:
            await self._bury(lane, record.offset, record.key, value, str(exc))
            return
        group = await self._group(lane, key)
        if not lane.live:
            return
        await self._apply(group, message, record.offset, record.key, value)

    async def _apply(self, group: Group, message: Message, offset: int, key: bytes | None, value: bytes | None) -> None:
        group.touched = time.monotonic()
        assert isinstance(message, ImportStarted | UserChunk | ImportEnded | ImportAborted)  # noqa: S101  # _group_of
        state, effect = step(group.progress, message)
        match effect:
            case Keep():
                assert isinstance(message, UserChunk)  # noqa: S101  # only chunks are kept
                await self._keep(group, state, message, offset, key, value)
            case Skip():
                group.progress = state
                group.lane.done([offset])
            case Merge() | Report() | AnnounceAgain() | Drop():
                group.progress = state
                group.settling = True
                self._spawn(self._settle(group, effect, message, offset))
            case _:
                assert_never(effect)
        if group.lane.pending >= self._config.flush_after_messages:
            self._flush_lane(group.lane)

    async def _keep(
        self, group: Group, state: Progress, chunk: UserChunk, offset: int, key: bytes | None, value: bytes | None
    ) -> None:
        """Step 2."""
        size = len(chunk.rows)
        rows = _rows_or_fault(chunk)
        if isinstance(rows, str):
            await self._bury(group.lane, offset, key, value, rows)
            return
        while not self._budget.fits(size):
            self._make_room()
            await self._budget.wait_freed()
        if not group.lane.live:
            return
        self._budget.take(size)
        group.progress = state
        group.add(
            BufferedChunk(seq=chunk.seq, digest=chunk.digest, batch=rows, size=size, offset=offset), time.monotonic()
        )
        if group.size >= self._config.run_bytes:
            self._flush(group)
        elif self._budget.used > self._config.buffer_bytes // 2:
            self._make_room()

    async def _bury(self, lane: Lane, offset: int, key: bytes | None, value: bytes | None, reason: str) -> None:
        """Dead letter first, acknowledgement after."""
        letter = DeadLetter(
            topic=lane.tp.topic,
            partition=Partition(lane.tp.partition),
            offset=offset,
            key=key,
            value=value or b"",
            reason=reason,
            failed_at_us=self._now_us(),
        )
        _log.warning("dead letter topic=%s partition=%d offset=%d reason=%s", *lane.tp, offset, reason)
        await self._publish(self._config.dead_letter_topic, lane.tp.topic.encode(), CODEC.encode(letter))
        lane.done([offset])

    async def _group(self, lane: Lane, key: GroupKey) -> Group:
        """The group of a message; one that is new to this owner is looked up in staging."""
        place = (lane.tp, key)
        if (group := self._groups.get(place)) is None:
            progress = await self._in_thread(self._resume, key)
            group = Group(lane, progress, time.monotonic())
            if lane.live:
                self._groups[place] = group
        return group

    def _resume(self, key: GroupKey) -> Progress:
        if self._aborted.get((key.import_id, key.partition), 0) >= key.attempt:
            return Progress.resume(key, aborted=True)
        bucket = self._config.staging_bucket
        keys = self._store.list_keys(bucket, staging_prefix(key.import_id, key.attempt, key.partition))
        if result_key(key.import_id, key.attempt, key.partition) in keys:
            return Progress.resume(key, finished=True)
        runs = find_runs(self._store, bucket, keys)
        return Progress.resume(key, staged=[chunk for run in runs for chunk in run.chunks.items()])

    # --- flushing (step 3) -------------------------------------------------------------------------------------------

    def _flush(self, group: Group) -> None:
        if group.chunks:
            chunks = group.take()
            task = self._spawn(self._stage(group, chunks))
            group.flushes.add(task)
            task.add_done_callback(group.flushes.discard)

    async def _stage(self, group: Group, chunks: list[BufferedChunk]) -> None:
        size = sum(c.size for c in chunks)
        started = time.monotonic()
        try:
            await self._in_thread(self._write_run, group.key, chunks)
        finally:
            self._budget.free(size)
        group.lane.done([c.offset for c in chunks])
        _log.debug(
            "staged import=%s partition=%d chunks=%d bytes=%d seconds=%.3f",
            *(group.key.import_id, group.key.partition, len(chunks), size, time.monotonic() - started),
        )

    def _write_run(self, key: GroupKey, chunks: list[BufferedChunk]) -> None:
        run, body = encode_run(key, chunks)
        self._store.put_new(self._config.staging_bucket, str(run), body)  # there already = the same bytes

    def _flush_lane(self, lane: Lane) -> None:
        for (tp, _), group in self._groups.items():
            if tp == lane.tp:
                self._flush(group)

    def _make_room(self) -> None:
        if not any(group.flushes for group in self._groups.values()):
            largest = max(self._groups.values(), key=lambda g: g.size, default=None)
            if largest is not None:
                self._flush(largest)

    async def tick(self) -> None:
        """Flush what is old, forget what is idle. Runs until cancelled."""
        while True:
            await asyncio.sleep(_TICK_S)
            now = time.monotonic()
            for place, group in list(self._groups.items()):
                if group.chunks and now - group.oldest >= self._config.flush_after_s:
                    self._flush(group)
                elif group.idle and now - group.touched >= self._config.idle_group_s:
                    del self._groups[place]

    # --- end markers and aborts (step 4) -----------------------------------------------------------------------------

    async def _settle(self, group: Group, effect: Effect, message: Message, offset: int) -> None:
        """Do what the end marker or the abort asks for, then acknowledge it."""
        try:
            if not isinstance(effect, Drop):
                self._flush(group)
            while group.flushes:
                await asyncio.wait(list(group.flushes))
            if not group.lane.live:
                return
            match effect:
                case Merge():
                    await self._intend(group, effect.marker)
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
            group.lane.done([offset])
        finally:
            group.settling = False

    async def _intend(self, group: Group, marker: ImportEnded) -> None:
        tp = group.lane.tp
        key = intent_key(tp.topic, Partition(tp.partition), marker.import_id, marker.attempt)
        await self._in_thread(self._store.put_new, self._config.staging_bucket, key, CODEC.encode(marker))
        if group.lane.live:
            self._merges.submit(Intent(key=key, marker=marker))

    async def _find_intents(self, lane: Lane) -> None:
        bucket = self._config.staging_bucket
        prefix = intent_prefix(lane.tp.topic, Partition(lane.tp.partition))
        for key in await self._in_thread(self._store.list_keys, bucket, prefix):
            body = await self._in_thread(self._store.get, bucket, key)
            if not lane.live:
                return
            if body is not None:  # else it was done by the owner before us, just now
                marker = CODEC.decode(body)
                if not isinstance(marker, ImportEnded):
                    raise FatalError("STAGING_DAMAGED", f"intent {key} holds a {type(marker).__name__}", key=key)
                self._merges.submit(Intent(key=key, marker=marker))

    async def _announce_again(self, key: GroupKey) -> None:
        bucket = self._config.staging_bucket
        body = await self._in_thread(self._store.get, bucket, result_key(key.import_id, key.attempt, key.partition))
        if body is not None:  # else staging was cleared after the import had ended: nobody waits for it
            await self._publish(self._config.progress_topic, key.import_id.encode(), body)

    async def _drop(self, lane: Lane, abort: ImportAborted) -> None:
        """Buffers, runs and intents of the import in this partition, for the aborted attempt and all before it."""
        self._aborted[abort.import_id, abort.partition] = abort.attempt
        while len(self._aborted) > _ABORTS_REMEMBERED:
            del self._aborted[next(iter(self._aborted))]
        keys = set()
        for (tp, key), group in list(self._groups.items()):
            if tp == lane.tp and key.import_id == abort.import_id and key.attempt <= abort.attempt:
                self._budget.free(group.size)
                lane.done([c.offset for c in group.take()])
                group.progress = Progress.resume(key, aborted=True)
                keys.add(key)
                while group.flushes:
                    await asyncio.wait(list(group.flushes))
        await self._merges.drop(
            {
                GroupKey(import_id=abort.import_id, attempt=Attempt(n), partition=abort.partition)
                for n in range(1, abort.attempt + 1)
            }
        )
        await self._in_thread(self._remove_staged, lane.tp, abort)
        _log.info(
            "dropped import=%s attempt=%d partition=%d reason=%s",
            *(abort.import_id, abort.attempt, abort.partition, abort.reason),
        )

    def _remove_staged(self, tp: TP, abort: ImportAborted) -> None:
        bucket = self._config.staging_bucket
        for attempt in map(Attempt, range(1, abort.attempt + 1)):
            staged = self._store.list_keys(bucket, staging_prefix(abort.import_id, attempt, abort.partition))
            self._store.delete(
                bucket, [*staged, intent_key(tp.topic, Partition(tp.partition), abort.import_id, attempt)]
            )

    # --- the rest ----------------------------------------------------------------------------------------------------

    async def _announce(self, message: ProgressMessage) -> None:
        await self._publish(self._config.progress_topic, message.import_id.encode(), CODEC.encode(message))

    async def _in_thread(self, call: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, call, *args)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        async def guarded() -> None:
            try:
                await work
            except Exception as exc:  # noqa: BLE001  # ends the worker; what was not acknowledged comes again
                self._fail(exc)

        task = asyncio.get_running_loop().create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _group_of(message: Message, tp: TP) -> GroupKey:
    """The group of an import message. Raises `UndecodableError` for what does not belong into this partition."""
    if not isinstance(message, ImportStarted | UserChunk | ImportEnded | ImportAborted):
        raise UndecodableError(f"a {type(message).__name__} does not belong into {tp.topic}")
    if message.partition != tp.partition:
        raise UndecodableError(
            f"{type(message).__name__} for partition {message.partition} in partition {tp.partition}"
        )
    return GroupKey.of(message)


def _rows_or_fault(chunk: UserChunk) -> pa.RecordBatch | str:
    """The rows of a chunk, or why they are not what it says they are."""
    try:
        batch = decode_rows(chunk.rows)
        fault = chunk_fault(chunk, batch, schema_of(batch.schema))
    except (pa.ArrowInvalid, pa.ArrowTypeError, StopIteration, OSError, ValueError) as exc:
        return f"broken rows: {type(exc).__name__}: {exc}"[:500]
    return batch if fault is None else fault
