"""Frames on the pipe from the parsing child to its parent: one kind byte, eight bytes of length, the payload."""

import json
import os
import select
from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from schemas.errors import FatalError

HEADER_BYTES: Final = 9
FRAME_MAX_BYTES: Final = 1024 * 1024 * 1024


class FrameKind(IntEnum):
    """What a frame holds."""

    ACCEPTED = 1
    """Arrow IPC record batch of the spec's row schema."""
    REJECTS = 2
    """Arrow IPC record batch of `REJECT_SCHEMA`."""
    PROGRESS = 3
    """JSON object."""
    SUMMARY = 4
    """JSON object; the last frame of a file that was read to its end."""
    ERROR = 5
    """JSON object: `MusterError.as_record()`; the last frame of a file that was not."""
    LAYOUT = 6
    """JSON object: names, encoding, format, compression and the spec that was chosen; before all rows, if asked for."""


def write_frame(fd: int, kind: FrameKind, payload: bytes | memoryview) -> None:
    """Write one frame. Blocks while the pipe is full; raises BrokenPipeError when the reader is gone."""
    view = memoryview(payload)
    _write_all(fd, bytes([kind]) + view.nbytes.to_bytes(8, "little"))
    _write_all(fd, view)


def write_record(fd: int, kind: FrameKind, record: Mapping[str, object]) -> None:
    """Write one JSON frame."""
    write_frame(fd, kind, json.dumps(record, default=str).encode())


def _write_all(fd: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class FrameReader:
    """Reads frames from a pipe without ever blocking longer than asked."""

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
        """The next frame, or None when nothing at all came within the time.

        Raises EOFError when the writer is gone, `FatalError` BAD_FRAME when the bytes are no frame.
        """
        while True:
            if self._filled == self._wanted:
                if self._kind is None:
                    self._start_payload()
                    continue
                frame = (self._kind, self._buffer)
                self._kind, self._buffer, self._filled, self._wanted = None, bytearray(HEADER_BYTES), 0, HEADER_BYTES
                return frame
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
        self._kind, self._buffer, self._filled, self._wanted = FrameKind(kind), bytearray(length), 0, length
