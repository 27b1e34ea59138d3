"""Messages between the service and a reader: JSON objects, each after its length in bytes (4, little-endian)."""

import json
import socket
import struct
from collections.abc import Iterator
from typing import Any, Final

HEAD: Final = struct.Struct("<I")
CHUNK_BYTES: Final = 256 * 1024
Frame = dict[str, Any]


def encode(frame: Frame) -> bytes:
    """The bytes of a message."""
    body = json.dumps(frame, separators=(",", ":")).encode("ascii")
    return HEAD.pack(len(body)) + body


class Frames:
    """Puts the messages of one direction together. One thread at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The messages that are complete with these bytes."""
        self._buffer += data
        while len(self._buffer) >= HEAD.size:
            (length,) = HEAD.unpack_from(self._buffer)
            end = HEAD.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[HEAD.size : end])
            del self._buffer[:end]
            yield json.loads(body)


def frames_of(connection: socket.socket) -> Iterator[Frame]:
    """Messages as they arrive, until the other side closes the connection."""
    frames = Frames()
    while True:
        try:
            data = connection.recv(CHUNK_BYTES)
        except ConnectionResetError:
            return
        if not data:
            return
        yield from frames.feed(data)
