"""Digests accepted rows in the process that parsed them, so that none crosses a pipe, and on a core of its own."""

import queue
import threading
from typing import Final

import pyarrow as pa

from schemas.columns import RowSchema
from schemas.digest import Digest
from schemas.row_digest import PartitionDigests

WAITING_BATCHES: Final = 4
WAITING_BATCH_BYTES: Final = 16 * 1024 * 1024
"""Larger batches do not wait: at most 4 x 16 MiB do."""


class Digester:
    """Count and digest of every partition of the rows that are added, in a thread of its own.

    When that thread is behind, who adds rows digests them itself: neither of the two ever waits for the other.
    """

    def __init__(self, schema: RowSchema, partitions: int) -> None:
        self._waiting: queue.Queue[pa.RecordBatch | None] = queue.Queue(WAITING_BATCHES)
        self._here = PartitionDigests(schema, partitions)
        self._beside = PartitionDigests(schema, partitions)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="digester", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as exc:  # the system has no room for its stack
            raise MemoryError(str(exc)) from exc

    def add(self, rows: pa.RecordBatch) -> None:
        """Count these rows too, now or later. Raises what went wrong with earlier ones."""
        if self._failure is not None:
            raise self._failure
        if rows.nbytes > WAITING_BATCH_BYTES:
            self._here.add(rows)
            return
        try:
            self._waiting.put_nowait(rows)
        except queue.Full:
            self._here.add(rows)

    def digests(self) -> tuple[Digest, ...]:
        """Digest of each partition, in order, once all rows have been added. Raises what went wrong with any."""
        while (rows := self._next_that_waits()) is not None:
            self._here.add(rows)
        self._waiting.put(None)
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        return tuple(a + b for a, b in zip(self._here.digests(), self._beside.digests(), strict=True))

    def _next_that_waits(self) -> pa.RecordBatch | None:
        try:
            return self._waiting.get_nowait()
        except queue.Empty:
            return None

    def _work(self) -> None:
        try:
            while (rows := self._waiting.get()) is not None:
                self._beside.add(rows)
        except BaseException as exc:  # noqa: BLE001  # raised again in the thread that adds rows
            self._failure = exc
