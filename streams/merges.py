"""The merge queue of a worker: durable intents -> sorted parts -> announcements.

Steps (numbered as in docs/delivery-guarantees.md):
5. The part is written to the data prefix under its content hash.
6. The announcement is stored next to the runs (`result.avro`), once: any later worker announces the stored one.
7. It is announced on the progress topic, and the broker acknowledges it.
8. The intent is removed.
A worker that dies in between leaves the intent, and the next owner starts again at 5. All steps may run twice at once.
"""

import asyncio
import contextvars
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.codec import CODEC
from schemas.layout import part_name, result_key, split_s3_uri, staging_prefix
from schemas.log_ids import bind
from schemas.messages import ImportEnded, PartitionFailed, PartitionMaterialised, ProgressMessage
from schemas.metrics import MERGE_SECONDS, MERGES
from segmentation.merging import MergeQueue, StagedRun, select_each_chunk_once
from segmentation.progress import GroupKey, Progress, failure
from streams.config import WorkerConfig
from streams.counters import Counters
from streams.merge import IN_MEMORY_FACTOR, MergedPart, SpillingSort, merge_rows
from streams.ranges import RANGE_BYTES
from streams.runs import find_runs, read_rows, stored_message
from streams.staging import StagingStore

_log = logging.getLogger(__name__)

ON_DISK_BYTES: Final = 4 * IN_MEMORY_FACTOR * RANGE_BYTES
"""Memory of a merge that would need more than this: one run being read, one range being sorted, the rest on disk."""

Announce = Callable[[ProgressMessage], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A pending merge: the end marker of a group that reconciled, and the key of its intent."""

    key: str
    marker: ImportEnded

    @property
    def group(self) -> GroupKey:
        """The group to merge."""
        return GroupKey.of(self.marker)


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
        self._queue: MergeQueue[Intent] = MergeQueue()
        self._running: dict[Intent, asyncio.Task[None]] = {}
        self._weight = 0
        self._dropped: set[GroupKey] = set()
        self._pool = ThreadPoolExecutor(config.merge_threads, thread_name_prefix="merge")

    @property
    def waiting(self) -> int:
        """Merges that are queued and not started."""
        return len(self._queue)

    def submit(self, intent: Intent) -> None:
        """Queue a merge, unless it is queued or running already."""
        self._dropped.discard(intent.group)
        if intent not in self._running:
            self._queue = self._queue.add(intent, intent.marker.records)
            self._start()

    def forget(self, prefix: str) -> None:
        """Drop queued merges of a revoked partition, by the prefix of its intents: they are left to the new owner."""
        self._queue = self._queue.remove([w.item for w in self._queue.waiting if w.item.key.startswith(prefix)])

    async def drop(self, groups: set[GroupKey]) -> None:
        """Drop queued merges of aborted groups, and wait for running ones."""
        self._queue = self._queue.remove([w.item for w in self._queue.waiting if w.item.group in groups])
        running = [task for intent, task in self._running.items() if intent.group in groups]
        self._dropped |= groups
        if running:
            await asyncio.wait(running)
        self._dropped -= groups

    def _start(self) -> None:
        while len(self._running) < self._config.merge_threads:
            queue, intent = self._queue.pop()
            if intent is None:
                return
            weight = self._weight_of(intent)
            if self._running and self._weight + weight > self._config.merge_bytes:
                return  # until a running merge ends; the next in the queue is no smaller
            self._queue = queue
            self._weight += weight
            self._running[intent] = asyncio.create_task(self._run(intent, weight))

    def _weight_of(self, intent: Intent) -> int:
        per_row = 64 + 16 * len(intent.marker.columns.columns)  # known exactly only once the footers are read
        return min(intent.marker.records * per_row * IN_MEMORY_FACTOR, self._spill_bytes, ON_DISK_BYTES)

    @property
    def _spill_bytes(self) -> int:
        """Memory for the rare rows that only DuckDB can sort."""
        return self._config.merge_bytes // 4

    async def _run(self, intent: Intent, weight: int) -> None:
        started = time.monotonic()
        marker = intent.marker
        bind(job=marker.import_id, attempt=marker.attempt, partition=marker.partition)
        try:
            run = contextvars.copy_context().run
            result: ProgressMessage = await asyncio.get_running_loop().run_in_executor(
                self._pool, lambda: run(self._merge, intent)
            )
            if intent.group not in self._dropped:
                await self._announce(result)  # step 7
                await asyncio.get_running_loop().run_in_executor(
                    self._pool, self._store.delete, self._config.staging_bucket, [intent.key]
                )  # step 8
            seconds = time.monotonic() - started
            self._counters.add(MERGES)
            self._counters.add(MERGE_SECONDS, seconds)
            _log_result(result, seconds)
        except Exception as exc:  # noqa: BLE001  # ends the worker; nothing is lost, the intent is still there
            self._fail(exc)
        finally:
            self._weight -= weight
            del self._running[intent]
            self._start()

    def _merge(self, intent: Intent) -> ProgressMessage:
        """Run steps 5 and 6, in a thread. Raises the store's `RetriableError` and `FatalError`."""
        marker = intent.marker
        bucket = self._config.staging_bucket
        stored = result_key(marker.import_id, marker.attempt, marker.partition)
        if (earlier := self._store.get(bucket, stored)) is not None:
            return _stored_result(stored, earlier)
        runs = find_runs(
            self._store,
            bucket,
            self._store.list_keys(bucket, staging_prefix(marker.import_id, marker.attempt, marker.partition)),
        )
        staged = Progress.resume(intent.group, staged=[chunk for run in runs for chunk in run.chunks.items()])
        if (report := failure(staged, marker)) is not None:
            return report  # staged chunks have been removed since; the attempt cannot be published
        result = self._materialise(marker, runs)
        if isinstance(result, PartitionFailed) or self._store.put_new(bucket, stored, CODEC.encode(result)):
            return result
        earlier = self._store.get(bucket, stored)
        return result if earlier is None else _stored_result(stored, earlier)

    def _materialise(self, marker: ImportEnded, runs: list[StagedRun]) -> ProgressMessage:
        selections = select_each_chunk_once(runs)
        size = sum(selection.run.row_bytes for selection in selections)
        spilling = None
        if size * IN_MEMORY_FACTOR > min(self._config.merge_bytes // 2, ON_DISK_BYTES):
            spilling = SpillingSort(
                rows_bytes=size,
                memory_bytes=self._spill_bytes,
                temp_bytes=self._config.merge_temp_bytes,
                threads=self._config.merge_threads,
            )
        self._config.temp.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"merge-{os.getpid()}-", dir=self._config.temp) as folder:
            part = merge_rows(
                read_rows(self._store, self._config.staging_bucket, selections),
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
                    reason="the rows read back from staging differ from those staged",
                    missing_count=0,
                    missing=(),
                    expected=marker.digest,
                    actual=part.read,
                )
            name = part_name(marker.import_id, marker.attempt, marker.partition, part.content_hash)
            bucket, prefix = split_s3_uri(marker.data_prefix)
            self._store.put_new_file(bucket, prefix + name, part.path)  # step 5; an existing object has the same bytes
            return _materialised(marker, part, marker.data_prefix + name)


def remove_leftovers(temp: Path) -> None:
    """Remove temp folders of merges whose worker was killed. Call before the first merge."""
    for folder in temp.glob("merge-*-*"):
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
