"""Frames on the pipe from the parsing child to its parent: one kind byte, eight length bytes, the payload."""

import json
import os
import select
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final

import numpy as np
import pyarrow as pa

from schemas.errors import FatalError

HEADER_BYTES: Final = 9
ORDINAL_BYTES: Final = 8
NO_ORDINAL: Final = -1
FRAME_MAX_BYTES: Final = 1024 * 1024 * 1024
FRAME_AT_ONCE_BYTES: Final = 16 * 1024 * 1024
"""A longer frame gets memory as its bytes arrive: a header of nine bytes may claim a gigabyte."""


class FrameKind(IntEnum):
    """Payload of a frame."""

    ACCEPTED = 1
    """The ordinal of the first row (8 bytes, little-endian), then an Arrow IPC record batch of the spec's row schema.

    The rows have consecutive ordinals; otherwise the ordinal is `NO_ORDINAL` and the batch has the column `_ordinal`.
    """
    REJECTS = 2
    """Arrow IPC record batch of `REJECT_SCHEMA`."""
    PROGRESS = 3
    """JSON object."""
    SUMMARY = 4
    """JSON object; last frame of a file that was read to its end."""
    ERROR = 5
    """JSON object: `MusterError.as_record()`; last frame of a file that was not read to its end."""
    LAYOUT = 6
    """JSON object: names, encoding, format, compression and the chosen spec; before all rows, if requested."""
    DIGESTS = 7
    """JSON object: `partitions`, the digest of each as text; sent before the summary instead of rows, if requested."""
    FORM = 8
    """JSON object: the `TextForm` of a file that is inspected; before the summary or the error."""
    BEGIN = 9
    """JSON object: `begin`, the offset in the file where the records of a range begin; before all rows. None, as the
    last frame, if that is not known."""
    GROUPS = 10
    """JSON object: `groups`, the `RowGroup`s of a Parquet file; the only frame, if requested."""


def write_frame(fd: int, kind: FrameKind, payload: bytes | memoryview) -> None:
    """Write one frame. Blocks while the pipe is full; raises BrokenPipeError if the reader is gone."""
    view = memoryview(payload)
    _write_all(fd, _header(kind, view.nbytes))
    _write_all(fd, view)


class BatchWriter:
    """Writes ACCEPTED frames straight from the buffers of a batch: serialising first would copy every byte."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._writers: dict[pa.Schema, tuple[_Pipe, pa.RecordBatchStreamWriter]] = {}

    def write(self, batch: pa.RecordBatch) -> None:
        """Write one frame. `batch` has ascending ordinals in its first column. Blocks and raises like `write_frame`."""
        ordinals = batch.column(0)
        first, last = ordinals[0].as_py(), ordinals[-1].as_py()
        if last - first == batch.num_rows - 1:
            batch = batch.remove_column(0)
        else:
            first = NO_ORDINAL
        pipe, writer = self._writer(batch.schema)
        size = ORDINAL_BYTES + pa.ipc.get_record_batch_size(batch)
        _write_all(self._fd, _header(FrameKind.ACCEPTED, size) + first.to_bytes(ORDINAL_BYTES, "little", signed=True))
        before = pipe.written
        writer.write_batch(batch)
        if pipe.written - before != size - ORDINAL_BYTES:
            raise RuntimeError(f"a batch of {size - ORDINAL_BYTES} bytes took {pipe.written - before}")

    def _writer(self, schema: pa.Schema) -> "tuple[_Pipe, pa.RecordBatchStreamWriter]":
        if schema not in self._writers:
            pipe = _Pipe(self._fd)
            writer = pa.ipc.new_stream(pa.PythonFile(pipe, "w"), schema)
            writer.write_batch(pa.RecordBatch.from_pylist([], schema=schema))  # the first batch carries the schema
            pipe.mute = False
            self._writers[schema] = pipe, writer
        return self._writers[schema]


class _Pipe:
    """The file that Arrow writes batches to; muted while Arrow writes the schema, which both sides know."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.mute = True
        self.written = 0
        self.closed = False

    def write(self, data: Any) -> int:
        """See `io.RawIOBase`."""
        size = memoryview(data).nbytes
        if not self.mute:
            _write_all(self._fd, data)
            self.written += size
        return size

    def flush(self) -> None:
        """See `io.RawIOBase`."""


def read_batch(payload: bytearray, schema: pa.Schema) -> pa.RecordBatch:
    """The batch of an ACCEPTED frame; `schema` includes the ordinal. Raises `pa.ArrowException` if it is malformed."""
    if len(payload) < ORDINAL_BYTES:
        raise pa.ArrowInvalid("the frame is truncated")
    first = int.from_bytes(payload[:ORDINAL_BYTES], "little", signed=True)
    message = pa.py_buffer(payload)[ORDINAL_BYTES:]
    if first == NO_ORDINAL:
        return read_checked(message, schema)
    batch = read_checked(message, schema.remove(0))
    ordinals = pa.array(np.arange(first, first + batch.num_rows, dtype=np.int64))
    return pa.RecordBatch.from_arrays([ordinals, *batch.columns], schema=schema)


def read_checked(message: Any, schema: pa.Schema) -> pa.RecordBatch:
    """An Arrow IPC record batch. Its buffers are validated, since the sender has read untrusted bytes."""
    batch = pa.ipc.read_record_batch(pa.py_buffer(message), schema)
    batch.validate(full=True)
    return batch


def write_record(fd: int, kind: FrameKind, record: Mapping[str, object]) -> None:
    """Write one JSON frame."""
    write_frame(fd, kind, json.dumps(record, default=str).encode())


def _header(kind: FrameKind, size: int) -> bytes:
    return bytes([kind]) + size.to_bytes(8, "little")


def _write_all(fd: int, data: Any) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class FrameReader:
    """Reads frames from a pipe; never blocks longer than the given timeout while no bytes arrive."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._wanted = HEADER_BYTES
        self._buffer = bytearray(HEADER_BYTES)
        self._filled = 0
        self._kind: FrameKind | None = None
        os.set_blocking(fd, False)
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN | select.POLLHUP)

    def next_frame(self, timeout_s: float) -> tuple[FrameKind, bytearray] | None:
        """The next frame, or None if no bytes arrived for `timeout_s`.

        Raises EOFError if the writer is gone, and `FatalError` BAD_FRAME if the bytes are no frame.
        """
        while True:
            if self._filled == self._wanted:
                if self._kind is None:
                    self._start_payload()
                    continue
                frame = (self._kind, self._buffer)
                self._kind, self._buffer, self._filled, self._wanted = None, bytearray(HEADER_BYTES), 0, HEADER_BYTES
                return frame
            if self._filled == len(self._buffer):
                self._buffer += bytes(min(self._filled, self._wanted - self._filled))
            try:
                n = os.readv(self._fd, [memoryview(self._buffer)[self._filled :]])
            except BlockingIOError:
                if not self._poll.poll(timeout_s * 1000):
                    return None
                continue
            if n == 0:
                raise EOFError
            self._filled += n

    def _start_payload(self) -> None:
        kind, length = self._buffer[0], int.from_bytes(self._buffer[1:], "little")
        if kind not in FrameKind.__members__.values() or length > FRAME_MAX_BYTES:
            raise FatalError("BAD_FRAME", f"the parser sent a frame of kind {kind} and {length} bytes")
        buffer = bytearray(min(length, FRAME_AT_ONCE_BYTES))
        self._kind, self._buffer, self._filled, self._wanted = FrameKind(kind), buffer, 0, length
