"""Request boundaries and matching replies in the byte streams of three protocols: as much as the proxy needs."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

Protocol = Literal["http", "kafka", "postgres"]
HTTP_REQUEST: Final = re.compile(rb"[A-Z]{3,7} \S+ HTTP/1\.[01]\r\n")
HTTP_CONTINUE: Final = b"HTTP/1.1 100"
TRANSACTION_END: Final = re.compile(rb"COMMIT|ROLLBACK")
HEAD_BYTES: Final = 16 * 1024
"""Bytes of a request that are shown to the rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Bytes to pass on.

    `head`: the beginning of a request that starts with these bytes; for PostgreSQL, what its transaction has sent.
    `answers`: the number of the request that these bytes answer.
    """

    data: bytes
    head: bytes | None = None
    answers: int | None = None


class Exchanges:
    """One connection. Requests are numbered from 1 in order; a reply carries the number of its request."""

    def __init__(self, protocol: Protocol) -> None:
        self._frames = protocol == "kafka"
        self._http = protocol == "http"
        self._transaction = bytearray()
        self._requests = 0
        self._replied = True
        self._correlations: dict[int, int] = {}
        self._up, self._down = bytearray(), bytearray()

    @property
    def number(self) -> int:
        """Number of the latest request."""
        return self._requests

    def sent(self, data: bytes) -> Iterator[Piece]:
        """Split what the client sends where requests begin. Kafka frames are passed on whole."""
        if self._frames:
            for frame in _whole_frames(self._up, data):
                self._requests += 1
                self._correlations[struct.unpack_from(">i", frame, 8)[0]] = self._requests
                yield Piece(data=frame, head=frame[:HEAD_BYTES])
            return
        begins = HTTP_REQUEST.match(data) is not None if self._http else self._replied
        if begins:
            self._requests += 1
            self._replied = False
        head = data[:HEAD_BYTES] if self._http else self._said(data)
        yield Piece(data=data, head=head if begins else None)

    def _said(self, data: bytes) -> bytes:
        """The whole transaction so far, or its end."""
        self._transaction += data
        said = bytes(self._transaction[-HEAD_BYTES:])
        if TRANSACTION_END.search(data):
            self._transaction.clear()
        return said

    def replied(self, data: bytes) -> Iterator[Piece]:
        """Match what the server sends to requests. "100 Continue" is not an answer yet."""
        if self._frames:
            for frame in _whole_frames(self._down, data):
                yield Piece(data=frame, answers=self._correlations.pop(struct.unpack_from(">i", frame, 4)[0], None))
        elif self._http and data.startswith(HTTP_CONTINUE) and data.count(b"\r\n\r\n") == 1:
            yield Piece(data=data)
        else:
            self._replied = True
            yield Piece(data=data, answers=self._requests)


def _whole_frames(buffer: bytearray, data: bytes) -> Iterator[bytes]:
    """Kafka frames: four bytes of length, then as many bytes."""
    buffer += data
    while len(buffer) >= 4 and len(buffer) >= (size := 4 + struct.unpack_from(">i", buffer)[0]):
        yield bytes(buffer[:size])
        del buffer[:size]


def without_brokers(request: bytes, reply: bytes) -> bytes:
    """A reply to a Metadata request, made to name no broker, as a cluster's only broker answers while it is fenced."""
    version = struct.unpack_from(">h", request, 6)[0]
    assert version >= 1, "brokers of version 0 have no rack"
    flexible = version >= 9
    begin = 4 + 4 + flexible + 4 * (version >= 3)  # length, correlation, tags, throttle time
    count, end = _length(reply, begin, ">i", compact=flexible)
    for _ in range(count):
        host, end = _length(reply, end + 4, ">h", compact=flexible)  # behind the id
        rack, end = _length(reply, end + host + 4, ">h", compact=flexible)  # behind the port
        end += max(rack, 0) + flexible
    body = reply[4:begin] + (b"\x01" if flexible else bytes(4)) + reply[end:]
    return struct.pack(">i", len(body)) + body


def _length(data: bytes, at: int, fixed: str, *, compact: bool) -> tuple[int, int]:
    """A length, -1 for null, and where it ends. A compact one is a varint of what it counts and one more."""
    if not compact:
        return struct.unpack_from(fixed, data, at)[0], at + struct.calcsize(fixed)
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at, more, shift = at + 1, data[at] & 0x80, shift + 7
        if not more:
            return value - 1, at


def kafka_head(api: int) -> bytes:
    """A regular expression for the beginning of a request of one API (0 Produce, 1 Fetch, 8 OffsetCommit, ...)."""
    return b"(?s)^.{4}" + re.escape(struct.pack(">h", api))
