"""Units of a source, which are verified and imported side by side: consecutive files, or a range of one file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

from connectors.sources.ranges import FileRange, RowGroup
from connectors.storage.pinned import SourceObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Consecutive files of a source, or a range of one. `first`: place of its first file; `files`: how many.

    `begin`, `end`: of a Parquet file, the row groups that it reads; end None: to the end of the file. `part`: the bytes
    of a text file whose records it reads.
    """

    first: int
    files: int = 1
    begin: int = 0
    end: int | None = None
    size: int | None = None
    """Of a range, bytes of the file that it reads."""
    part: FileRange | None = None

    @classmethod
    def of_part(cls, place: int, part: FileRange) -> Self:
        """The unit of a range of the text file at `place`."""
        return cls(first=place, size=part.end - part.begin, part=part)

    @property
    def is_range(self) -> bool:
        """Whether it is only a range of its file."""
        return self.part is not None or self.begin > 0 or self.end is not None

    @property
    def known_begin(self) -> int | None:
        """Of a range of text, `FileRange.known_begin`."""
        return None if self.part is None else self.part.known_begin

    @property
    def continues(self) -> bool:
        """Whether its first file begins in a unit before it."""
        return self.begin > 0 or (self.part is not None and self.part.begin > 0)

    def reading(self, part: FileRange) -> Self:
        """The same unit with another range of its text file."""
        return replace(self, size=part.end - part.begin, part=part)

    def bytes(self, files: Sequence[SourceObject]) -> int:
        """Bytes that it reads."""
        return sum(file.size for file in self.of(files)) if self.size is None else self.size

    def of(self, files: Sequence[SourceObject]) -> Sequence[SourceObject]:
        """Its files, of those of the source."""
        return files[self.first : self.first + self.files]


def cut(
    files: Sequence[SourceObject],
    unit_bytes: int,
    groups_of: Callable[[SourceObject], Sequence[RowGroup]] = lambda _: (),
    parts_of: Callable[[SourceObject], Sequence[FileRange]] = lambda _: (),
) -> tuple[Unit, ...]:
    """Whole files, in order, up to `unit_bytes` together; a larger file is a unit by itself, or several.

    `groups_of`: the row groups of a file, by which it may be cut; `parts_of`: the ranges of a text file. Both are asked
    for larger files alone.
    """
    units: list[Unit] = []
    first = size = 0
    for place, file in enumerate(files):
        if place > first and size + file.size > unit_bytes:
            units.append(Unit(first=first, files=place - first))
            first, size = place, 0
        if file.size > unit_bytes:
            ranges = _by_groups(place, groups_of(file), unit_bytes)
            ranges = ranges or [Unit.of_part(place, part) for part in parts_of(file)]
            if len(ranges) > 1:
                units += ranges
                first, size = place + 1, 0
                continue
        size += file.size
    if len(files) > first:
        units.append(Unit(first=first, files=len(files) - first))
    return tuple(units)


def about(size: int, files: int, unit_bytes: int, *, ranges: bool) -> tuple[int, int]:
    """How many units `cut` makes of files of one size, and the bytes of the largest.

    `size`: of all files, `ranges`: whether one is cut if it is larger than `unit_bytes`. Row groups fit exactly here.
    """
    each = -(-size // files)
    if each > unit_bytes:
        of_each = -(-each // unit_bytes) if ranges else 1
        return files * of_each, -(-each // of_each)
    together = min(files, unit_bytes // max(1, each))
    return -(-files // together), together * each


def _by_groups(place: int, groups: Sequence[RowGroup], unit_bytes: int) -> list[Unit]:
    """Consecutive row groups of a file up to `unit_bytes` together; a larger one is a unit by itself."""
    units: list[Unit] = []
    begin = size = 0
    for number, group in enumerate(groups):
        more = group.end - group.begin
        if number > begin and size + more > unit_bytes:
            units.append(Unit(first=place, begin=begin, end=number, size=size))
            begin, size = number, 0
        size += more
    if len(groups) > begin:
        units.append(Unit(first=place, begin=begin, end=len(groups), size=size))
    return units
