"""Digests accepted rows in the process that parsed them, on a separate core, so that no row crosses a pipe."""

import queue
import threading
from typing import Final

import pyarrow as pa

from schemas.chunk_rule import ChunkCounter, ChunkCounts
from schemas.columns import RowSchema
from schemas.digest import Digest
from schemas.row_digest import PartitionDigests

WAITING_BATCHES: Final = 4
WAITING_BATCH_BYTES: Final = 16 * 1024 * 1024
"""Larger batches are not queued, so the queue holds at most 4 x 16 MiB."""


class Digester:
    """Computes the count and digest of every partition of the added rows, in a separate thread.

    When that thread is behind, the calling thread digests rows itself, so that neither waits for the other.
    `counter`: also counts the chunks of the rows.
    """

    def __init__(self, schema: RowSchema, partitions: int, counter: ChunkCounter | None = None) -> None:
        self._counter = counter
        self._waiting: queue.Queue[pa.RecordBatch | None] = queue.Queue(WAITING_BATCHES)
        self._inline = PartitionDigests(schema, partitions)
        self._in_thread = PartitionDigests(schema, partitions)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="digester", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as exc:  # the system has no memory for its stack
            raise MemoryError(str(exc)) from exc

    def add(self, rows: pa.RecordBatch) -> None:
        """Count these rows too, now or later. Raises the error of an earlier batch, if any."""
        if self._failure is not None:
            raise self._failure
        if self._counter is not None:
            self._counter.add(rows)  # here, where the rows are in order
        if rows.nbytes > WAITING_BATCH_BYTES:
            self._inline.add(rows)
            return
        try:
            self._waiting.put_nowait(rows)
        except queue.Full:
            self._inline.add(rows)

    @property
    def chunks(self) -> ChunkCounts | None:
        """Chunks of the added rows and those before, if there is a counter."""
        return None if self._counter is None else self._counter.counts

    def digests(self) -> tuple[Digest, ...]:
        """Digest of each partition, in order, once all rows have been added. Raises the error of any batch."""
        while (rows := self._next_waiting()) is not None:
            self._inline.add(rows)
        self._waiting.put(None)
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        return tuple(a + b for a, b in zip(self._inline.digests(), self._in_thread.digests(), strict=True))

    def _next_waiting(self) -> pa.RecordBatch | None:
        try:
            return self._waiting.get_nowait()
        except queue.Empty:
            return None

    def _work(self) -> None:
        try:
            while (rows := self._waiting.get()) is not None:
                self._in_thread.add(rows)
        except BaseException as exc:  # noqa: BLE001  # raised again in the thread that adds rows
            self._failure = exc
