"""Ranges of a text file, which are read side by side: the records that begin in them.

Whether a record begins at a byte of CSV depends on all quotes before it. So a range that is not known to begin with a
record finds a likely first one (`csv_ranges`), and what it says counts only once the range before it is known to have
ended exactly there (`chaining`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from connectors.sources.compression import ByteSource
from schemas.errors import FatalError

HEAD_BYTES: Final = 1024 * 1024 + 16
"""Bytes that the header of a file may have, with a byte order mark and its line end."""
BEYOND_BYTES: Final = 2 * 1024 * 1024
"""How far behind its end a range is read if its first record is a guess: more than the largest record has."""
NEAR_BYTES: Final = 64 * 1024
"""Read behind the end of a range first: most often the last record ends there."""
NO_END: Final = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRange:
    """The records of a text file that begin in its bytes `begin` to `end` (exclusive).

    `size`: of the file. `exact`: whether a record (of the first range, the file) begins at `begin`, or the first one
    that begins behind it has to be guessed. `bounded`: whether at most `beyond` bytes behind `end` are read, as a begin
    that is not confirmed may be wrong; otherwise, as far as the last record goes.
    """

    begin: int
    end: int
    size: int
    exact: bool
    bounded: bool
    beyond: int = BEYOND_BYTES

    @property
    def known_begin(self) -> int | None:
        """Where its records begin, if that is known without reading it: a begin that is only likely may be wrong."""
        return None if self.bounded else self.begin

    @property
    def head(self) -> int:
        """Bytes of the file's beginning that precede the range in the source of its reader."""
        return min(self.begin, HEAD_BYTES)

    @property
    def first(self) -> int:
        """The first byte of the range that its reader gets; of a guess, the one before `begin`, too."""
        return self.begin if self.exact else self.begin - 1

    @property
    def near_end(self) -> int:
        """How far a range is read whose begin is right, unless its last record is larger than records may be."""
        return min(self.size, self.end + self.beyond)


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldsRecord:
    """The fields of the rows of a range. `missing`: needed columns that no row has; `others`: other names, if any."""

    rows: int = 0
    missing: tuple[str, ...] = ()
    others: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeRead:
    """Where the records of a range begin and end (bytes of the file), and how many line ends they have.

    `fields`: of JSON Lines.
    """

    begin: int
    end: int
    lines: int
    fields: FieldsRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowGroup:
    """A row group of a Parquet file: how many rows it has, and between which bytes of the file it lies."""

    rows: int
    begin: int
    end: int


class UnknownRangeError(Exception):
    """A range did not end within `FileRange.beyond`: its begin is probably wrong."""


def read_exactly(source: ByteSource, size: int) -> bytes:
    """The next `size` bytes; fewer if the source ends."""
    content = bytearray(size)
    filled = 0
    while filled < size and (n := source.readinto(memoryview(content)[filled:])):
        filled += n
    return bytes(content[:filled])


class RangeSource:
    """The bytes of a range. `at`: offset in the file of the next one.

    Raises `UnknownRangeError` at the end of what may be read for a guess, and `FatalError` BYTES_LOST if the source
    ends before the file.
    """

    def __init__(self, source: ByteSource, part: FileRange) -> None:
        self._source = source
        self._part = part
        self._start = b""
        self.at = part.first

    def peek(self, size: int) -> bytes:
        """At most `size` of the next bytes, which are read again."""
        self._start = read_exactly(self._source, size)
        return self._start

    def skip(self, size: int) -> None:
        """Leave out the first of the bytes that were peeked at."""
        self._start = self._start[size:]
        self.at += size

    def readinto(self, buffer: memoryview) -> int:
        """See `ByteSource`."""
        if self._start:
            n = min(len(buffer), len(self._start))
            buffer[:n] = self._start[:n]
            self._start = self._start[n:]
        else:
            n = self._source.readinto(buffer) or 0
        self.at += n
        if not n and self.at < self._part.size:
            if self._part.bounded:
                raise UnknownRangeError
            raise FatalError("BYTES_LOST", f"the range ended at byte {self.at} of the file's {self._part.size}")
        return n
