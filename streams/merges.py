"""The merge queue of a worker: groups that have reconciled -> sorted parts -> announcements.

Steps (numbered as in docs/delivery-guarantees.md):
5. The part is written to the data prefix under its content hash.
6. The announcement is stored next to the runs (`result.avro`), once: any later worker announces the stored one.
7. It is announced on the progress topic, and the broker acknowledges it.
8. The intent is removed, or the records of a group without one are acknowledged.
A worker that dies in between leaves the intent or unacknowledged records: the next owner starts again at 5, or reads
them again. All steps may run twice at once.
"""

import asyncio
import contextvars
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from schemas import tracing
from schemas.codec import CODEC
from schemas.counters import Counters
from schemas.layout import part_name, result_key, split_s3_uri, staging_prefix
from schemas.log_ids import bind, captured
from schemas.messages import ImportEnded, PartitionFailed, PartitionMaterialised, ProgressMessage
from schemas.metrics import MERGE_SECONDS, MERGES
from schemas.tracing import trace_of
from segmentation.merging import MergeQueue, StagedRun, select_each_chunk_once
from segmentation.progress import GroupKey, Progress, failure
from streams import memory
from streams.buffers import KeptRows
from streams.config import WorkerConfig
from streams.merge import IN_MEMORY_BYTES, IN_MEMORY_FACTOR, MergedPart, SpillingSort, merge_rows
from streams.runs import find_runs, read_rows, stored_message
from streams.spool import read_spooled, rows_of
from streams.staging import StagingStore

_log = logging.getLogger(__name__)

Announce = Callable[[ProgressMessage], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A durable merge: the end marker of a group that reconciled, and the key of its intent."""

    key: str
    marker: ImportEnded


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PendingMerge:
    """A merge to be done: of staged rows by their intent (its key), or of `kept` rows and any staged ones.

    `finished` is set once the result is announced, or nobody waits for it any more. `ids`: of its log lines.
    """

    marker: ImportEnded
    ids: Mapping[str, Any]
    intent: str | None = None
    kept: KeptRows = field(default_factory=KeptRows)
    finished: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def group(self) -> GroupKey:
        """The group to merge."""
        return GroupKey.of(self.marker)

    @property
    def staged(self) -> bool:
        """Whether some of its rows are in staging."""
        return len(list(self.kept.chunks())) < self.marker.chunks


class MergeRunner:
    """Runs merges in threads, small ones first, within `merge_bytes` of memory. Lives in the event loop."""

    def __init__(
        self,
        config: WorkerConfig,
        store: StagingStore,
        announce: Announce,
        fail: Callable[[Exception], None],
        counters: Counters,
    ) -> None:
        self._config = config
        self._store = store
        self._announce = announce
        self._fail = fail
        self._counters = counters
        self._queue: MergeQueue[PendingMerge] = MergeQueue()
        self._running: dict[PendingMerge, asyncio.Task[None]] = {}
        self._weight = 0
        self._dropped: set[GroupKey] = set()
        self._pool = ThreadPoolExecutor(config.merge_threads, thread_name_prefix="merge")

    @property
    def waiting(self) -> int:
        """Merges that are queued and not started."""
        return len(self._queue)

    def submit_intent(self, intent: Intent) -> None:
        """Queue a durable merge, unless it is queued or running already."""
        if all(pending.intent != intent.key for pending in (*self._running, *self._queued())):
            self.submit(PendingMerge(marker=intent.marker, intent=intent.key, ids=_ids_of(intent.marker)))

    def submit(self, pending: PendingMerge) -> None:
        """Queue a merge."""
        self._dropped.discard(pending.group)
        self._queue = self._queue.add(pending, pending.marker.records)
        self._start()

    def withdraw(self, pending: PendingMerge) -> bool:
        """Take a merge out of the queue. False if it has started."""
        if pending not in self._queue:
            return False
        self._queue = self._queue.remove([pending])
        return True

    def forget(self, prefix: str, groups: Set[GroupKey]) -> None:
        """Drop queued merges of a revoked partition: they are left to the new owner.

        Its durable ones go by the prefix of their intents, those of kept rows by their groups.
        """
        self._remove(
            p for p in self._queued() if (p.group in groups if p.intent is None else p.intent.startswith(prefix))
        )

    async def drop(self, groups: set[GroupKey]) -> None:
        """Drop queued merges of aborted groups, and wait for running ones."""
        self._remove(p for p in self._queued() if p.group in groups)
        running = [task for pending, task in self._running.items() if pending.group in groups]
        self._dropped |= groups
        if running:
            await asyncio.wait(running)
        self._dropped -= groups

    def _queued(self) -> list[PendingMerge]:
        return [waiting.item for waiting in self._queue.waiting]

    def _remove(self, merges: Iterable[PendingMerge]) -> None:
        removed = list(merges)
        self._queue = self._queue.remove(removed)
        for pending in removed:
            pending.finished.set()

    def _start(self) -> None:
        while len(self._running) < self._config.merge_threads:
            queue, pending = self._queue.pop()
            if pending is None:
                return
            weight = self._weight_of(pending.marker)
            if self._running and self._weight + weight > self._config.merge_bytes:
                return  # until a running merge ends; the next in the queue is no smaller
            self._queue = queue
            self._weight += weight
            self._running[pending] = asyncio.create_task(self._run(pending, weight))

    def _weight_of(self, marker: ImportEnded) -> int:
        per_row = 64 + 16 * len(marker.columns.columns)  # known exactly only once the rows are there
        return min(marker.records * per_row, IN_MEMORY_BYTES) * IN_MEMORY_FACTOR  # one on disk takes less

    @property
    def _spill_bytes(self) -> int:
        """Memory for the rare rows that only DuckDB can sort."""
        return self._config.merge_bytes // 4

    async def _run(self, pending: PendingMerge, weight: int) -> None:
        started = time.monotonic()
        bind(**pending.ids)  # it may run in the context of the merge that ended before
        try:
            with tracing.span("materialise partition", _attributes(pending.marker), parent=pending.ids["trace"]):
                run = contextvars.copy_context().run
                result: ProgressMessage = await asyncio.get_running_loop().run_in_executor(
                    self._pool, lambda: run(self._merge, pending)
                )
                if pending.group not in self._dropped:
                    await self._announce(result)  # step 7
                    if pending.intent is not None:
                        await asyncio.get_running_loop().run_in_executor(
                            self._pool, self._store.delete, self._config.staging_bucket, [pending.intent]
                        )  # step 8
            pending.finished.set()
            seconds = time.monotonic() - started
            self._counters.add(MERGES)
            self._counters.add(MERGE_SECONDS, seconds)
            _log_result(result, seconds)
        except Exception as exc:  # noqa: BLE001  # ends the worker; nothing is lost, its intent or records are there
            self._fail(exc)
        finally:
            self._weight -= weight
            del self._running[pending]
            self._start()

    def _merge(self, pending: PendingMerge) -> ProgressMessage:
        """Run steps 5 and 6, in a thread. Raises the store's `RetriableError` and `FatalError`."""
        marker = pending.marker
        bucket = self._config.staging_bucket
        stored = result_key(marker.import_id, marker.attempt, marker.partition)
        if pending.intent is not None and (earlier := self._store.get(bucket, stored)) is not None:
            return _stored_result(stored, earlier)
        runs = self._staged_runs(marker) if pending.staged else []
        chunks = [*((c.seq, c.digest) for c in pending.kept.chunks()), *(c for run in runs for c in run.chunks.items())]
        if (report := failure(Progress.resume(pending.group, staged=chunks), marker)) is not None:
            return report  # staged chunks have been removed since; the attempt cannot be published
        result = self._materialise(pending, runs)
        if isinstance(result, PartitionFailed) or self._store.put_new(bucket, stored, CODEC.encode(result)):
            return result
        earlier = self._store.get(bucket, stored)
        return result if earlier is None else _stored_result(stored, earlier)

    def _staged_runs(self, marker: ImportEnded) -> list[StagedRun]:
        bucket = self._config.staging_bucket
        prefix = staging_prefix(marker.import_id, marker.attempt, marker.partition)
        return find_runs(self._store, bucket, self._store.list_keys(bucket, prefix))

    def _materialise(self, pending: PendingMerge, runs: list[StagedRun]) -> ProgressMessage:
        marker, kept = pending.marker, pending.kept
        selections = select_each_chunk_once(runs, known={chunk.seq for chunk in kept.chunks()})
        size = sum(s.run.row_bytes for s in selections) + sum(chunk.size for chunk in kept.chunks())
        spilling = None
        if size > IN_MEMORY_BYTES or size * IN_MEMORY_FACTOR > self._config.merge_bytes // 2:
            memory.release_free()  # what receiving the rows has left: a merge of this size takes seconds
            spilling = SpillingSort(
                rows_bytes=size,
                memory_bytes=self._spill_bytes,
                temp_bytes=self._config.merge_temp_bytes,
                threads=self._config.merge_threads,
            )
        self._config.temp.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"merge-{os.getpid()}-", dir=self._config.temp) as folder:
            part = merge_rows(
                chain(_kept_rows(kept), read_rows(self._store, self._config.staging_bucket, selections)),
                marker.columns,
                Path(folder),
                spilling=spilling,
            )
            if part is None:
                return _materialised(marker, None, None)
            if part.read != marker.digest:
                return PartitionFailed(
                    import_id=marker.import_id,
                    attempt=marker.attempt,
                    partition=marker.partition,
                    partitions=marker.partitions,
                    reason="the rows that were merged differ from those that arrived",
                    missing_count=0,
                    missing=(),
                    expected=marker.digest,
                    actual=part.read,
                )
            name = part_name(marker.import_id, marker.attempt, marker.partition, part.content_hash)
            bucket, prefix = split_s3_uri(marker.data_prefix)
            self._store.put_new_file(bucket, prefix + name, part.path)  # step 5; an existing object has the same bytes
            return _materialised(marker, part, marker.data_prefix + name)


def _attributes(marker: ImportEnded) -> Mapping[str, tracing.Value]:
    return {
        "muster.job": marker.import_id,
        "muster.attempt": marker.attempt,
        "muster.partition": marker.partition,
        "muster.rows": marker.records,
    }


def _ids_of(marker: ImportEnded) -> Mapping[str, Any]:
    """Of a merge whose intent was found: if its marker is not at hand, what the marker itself says."""
    ids = captured()
    if ids.get("job") == marker.import_id:
        return ids
    known = {"job": marker.import_id, "attempt": marker.attempt, "partition": marker.partition}
    return {**known, "execution": None, "request_id": None, "trace": trace_of(marker.import_id)}


def _kept_rows(kept: KeptRows) -> Iterator[pa.Table]:
    """Rows in memory, then those of each file."""
    if kept.buffered:
        yield rows_of(kept.buffered)
    for file in kept.spooled:
        yield rows_of(read_spooled(file))


def remove_leftovers(temp: Path) -> None:
    """Remove what killed workers have left: folders of merges, and spools. Call before the first record."""
    for folder in (*temp.glob("merge-*-*"), *temp.glob("spool-*-*")):
        owner = folder.name.split("-")[1]
        if owner == str(os.getpid()) or not (owner.isdigit() and _alive(int(owner))):
            shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _materialised(marker: ImportEnded, part: MergedPart | None, uri: str | None) -> PartitionMaterialised:
    return PartitionMaterialised(
        import_id=marker.import_id,
        attempt=marker.attempt,
        partition=marker.partition,
        partitions=marker.partitions,
        chunks=marker.chunks,
        records=marker.records,
        digest=marker.digest,
        distinct=0 if part is None else part.kept.count,
        distinct_digest=marker.digest if part is None else part.kept,
        part=uri,
        part_bytes=0 if part is None else part.size,
    )


def _stored_result(key: str, body: bytes) -> ProgressMessage:
    """Raises `FatalError` STAGING_DAMAGED."""
    kinds: tuple[type[ProgressMessage], ...] = (PartitionMaterialised, PartitionFailed)
    return stored_message(key, body, kinds)


def _log_result(result: ProgressMessage, seconds: float) -> None:
    match result:
        case PartitionMaterialised():
            _log.info(
                "materialised import=%s attempt=%d partition=%d records=%d distinct=%d bytes=%d seconds=%.2f",
                *(result.import_id, result.attempt, result.partition),
                *(result.records, result.distinct, result.part_bytes, seconds),
            )
        case PartitionFailed():
            _log.error(
                "failed import=%s attempt=%d partition=%d reason=%s",
                *(result.import_id, result.attempt, result.partition, result.reason),
            )
