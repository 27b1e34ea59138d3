"""CSV in other encodings and with other delimiters, as the comma-separated UTF-8 that the strict scan reads.

The delimiter and the comma change places before the scan, and again in each value: both have one byte, so no position
moves. Another encoding moves them all. Places of records are found again by their line ends: the n-th line end of the
UTF-8 is the n-th of the file, since no encoding here has a line feed inside a character. Within a line, characters are
counted. Bytes that decode to nothing become bytes that are not UTF-8 either (a lone surrogate with the byte in it), so
that their rows are rejects as ever.
"""

import codecs
import re
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from connectors.sources.compression import INPUT_BYTES, ByteSource
from schemas.errors import UserError
from schemas.text_form import ENCODING_LABELS, TextEncoding

Longs = npt.NDArray[np.int64]

UNDECODABLE: Final = re.compile(b"\xed[\xb0-\xb3][\x80-\xbf]")
_ERRORS: Final = "muster-undecodable"
_KEPT_BYTES: Final = 32 * 1024 * 1024
"""UTF-8 whose places can be found again: more than the scan's buffer, a block of 8 MiB and a record."""
_MARKS: Final = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_WIDE: Final = {"utf-16-le": "<u2", "utf-16-be": ">u2"}


def _mark(exc: UnicodeError) -> tuple[str, int]:
    """Stand in for the first undecodable byte (of UTF-16: two), and go on after it."""
    if not isinstance(exc, UnicodeDecodeError):
        raise exc
    size = 2 if exc.encoding.startswith("utf-16") else 1
    return chr(0xDC00 + exc.object[exc.start]), min(exc.start + size, len(exc.object))


codecs.register_error(_ERRORS, _mark)


def load_codecs() -> None:
    """Load the decoders, whose files a confined child does not see."""
    for encoding in ENCODING_LABELS:
        codecs.getincrementaldecoder(encoding)(_ERRORS).decode(b"a")


def swapped(delimiter: str) -> bytes:
    """The table by which a delimiter and the comma change places; its own inverse."""
    return bytes.maketrans(b"," + delimiter.encode(), delimiter.encode() + b",")


class Swapped:
    """A source whose delimiter and comma have changed places."""

    def __init__(self, source: ByteSource, table: bytes) -> None:
        self._source = source
        self._table = np.frombuffer(table, np.uint8)

    def readinto(self, buffer: memoryview) -> int:
        """See `ByteSource`."""
        n = self._source.readinto(buffer)
        view = np.frombuffer(buffer, np.uint8)[:n]
        view[:] = self._table[view]
        return n


@dataclass(slots=True)
class _Piece:
    """A stretch of the file (`raw`, from byte `at`) and its UTF-8 (`text`, from byte `text_at`)."""

    at: int
    raw: bytes
    text_at: int
    text: bytes
    ends: tuple[Longs, Longs] | None = field(default=None)


class Transcoded:
    """The UTF-8 of a source in another encoding, which knows where in the source a byte of it comes from.

    Raises `UserError` NOT_UTF8_HEADER if the encoding is UTF-16 and the file has no byte order mark: then which of the
    two orders it has must be said.
    """

    def __init__(self, source: ByteSource, encoding: TextEncoding) -> None:
        self._source = source
        self._codec: str = codecs.lookup(encoding).name
        self.label: Final = ENCODING_LABELS[encoding]
        self._decoder: Any = None
        self._read = self._written = 0
        self._rest = b""
        self._pieces: deque[_Piece] = deque()
        self._ended = False

    def readinto(self, buffer: memoryview) -> int:
        """See `ByteSource`."""
        while not self._rest and not self._ended:
            self._rest = self._next()
        n = min(len(buffer), len(self._rest))
        buffer[:n] = self._rest[:n]
        self._rest = self._rest[n:]
        return n

    def _next(self) -> bytes:
        block = bytearray(INPUT_BYTES)
        size = self._source.readinto(memoryview(block))
        while 0 < size < 2 and (more := self._source.readinto(memoryview(block)[size:])):
            size += more
        raw = bytes(block[:size])
        self._ended = not raw
        if self._decoder is None:
            if self._codec == "utf-16":
                self._codec = self._order(raw)
            self._decoder = codecs.getincrementaldecoder(self._codec)(_ERRORS)
        held: bytes = self._decoder.getstate()[0]
        decoded: str = self._decoder.decode(raw, final=self._ended)
        text = decoded.encode("utf-8", "surrogatepass")
        left: bytes = b"" if self._ended else self._decoder.getstate()[0]
        whole = held + raw
        piece = _Piece(self._read - len(held), whole[: len(whole) - len(left)], self._written, text)
        self._read += len(raw)
        self._written += len(text)
        self._pieces.append(piece)
        while self._pieces[0].text_at + len(self._pieces[0].text) < self._written - _KEPT_BYTES:
            self._pieces.popleft()
        return text

    def _order(self, start: bytes) -> str:
        if (found := _MARKS.get(start[:2])) is not None:
            return found
        if not start:
            return "utf-16-le"
        raise UserError(
            "NOT_UTF8_HEADER",
            "the file has no byte order mark: say which UTF-16 it is with --encoding utf-16le or utf-16be",
        )

    def starts(self, places: Longs) -> Longs:
        """Where in the file records begin, by where they begin in the UTF-8 (ascending; not at its start)."""
        found = np.empty(len(places), np.int64)
        done = 0
        for piece in self._pieces:
            end = piece.text_at + len(piece.text)
            stop = int(np.searchsorted(places, end, side="right"))
            if stop > done:
                ends, text_ends = self._ends(piece)
                found[done:stop] = ends[np.searchsorted(text_ends, places[done:stop])]
                done = stop
        return found

    def _ends(self, piece: _Piece) -> tuple[Longs, Longs]:
        """Places after the line ends of a piece, in the file and in the UTF-8."""
        if piece.ends is None:
            if wide := _WIDE.get(self._codec):
                units = np.frombuffer(piece.raw, wide, len(piece.raw) // 2)
                raw_ends = 2 * np.flatnonzero(units == 10) + 2
            else:
                raw_ends = np.flatnonzero(np.frombuffer(piece.raw, np.uint8) == 10) + 1
            text_ends = np.flatnonzero(np.frombuffer(piece.text, np.uint8) == 10) + 1
            piece.ends = raw_ends + piece.at, text_ends + piece.text_at
        return piece.ends

    def place(self, text_place: int) -> tuple[int, int]:
        """Where in the file a character comes from, by where it is in the UTF-8, and its first byte there."""
        piece = next(p for p in self._pieces if text_place < p.text_at + len(p.text) or p is self._pieces[-1])
        ends, text_ends = self._ends(piece)
        line = int(np.searchsorted(text_ends, text_place, side="right")) - 1
        at, text_at = (int(ends[line]), int(text_ends[line])) if line >= 0 else (piece.at, piece.text_at)
        before = piece.text[text_at - piece.text_at : text_place - piece.text_at]
        characters = len(before.decode("utf-8", "surrogatepass"))
        decoder = codecs.getincrementaldecoder(self._codec)(_ERRORS)
        while characters > 0 and at - piece.at < len(piece.raw):
            characters -= len(decoder.decode(piece.raw[at - piece.at : at - piece.at + 1]))
            at += 1
        at += characters  # after an undecodable byte, the ASCII character behind it may come with it
        return at, piece.raw[at - piece.at] if at - piece.at < len(piece.raw) else 0


def shown(text: bytes) -> bytes:
    """UTF-8 of a file in another encoding for people: undecodable bytes as escapes of themselves."""
    return UNDECODABLE.sub(lambda m: b"\\x%02x" % (((m[0][1] & 3) << 6) | (m[0][2] & 63)), text)
