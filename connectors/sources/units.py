"""Units of a source, which are verified and imported side by side: consecutive files, or a range of one file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from connectors.sources.ranges import RowGroup
from connectors.storage.pinned import SourceObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Consecutive files of a source, or a range of one. `first`: place of its first file; `files`: how many.

    `begin`, `end`: of one file, the bytes (CSV, JSON Lines) or row groups (Parquet) that it reads; end None: to the end
    of the file.
    """

    first: int
    files: int = 1
    begin: int = 0
    end: int | None = None
    size: int | None = None
    """Of a range, bytes of the file that it reads."""

    @property
    def is_range(self) -> bool:
        """Whether it is only a range of its file."""
        return self.begin > 0 or self.end is not None

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
) -> tuple[Unit, ...]:
    """Whole files, in order, up to `unit_bytes` together; a larger file is a unit by itself, or several.

    `groups_of`: the row groups of a file, by which it may be cut; it is asked for larger ones alone.
    """
    units: list[Unit] = []
    first = size = 0
    for place, file in enumerate(files):
        if place > first and size + file.size > unit_bytes:
            units.append(Unit(first=first, files=place - first))
            first, size = place, 0
        if file.size > unit_bytes and len(ranges := _by_groups(place, groups_of(file), unit_bytes)) > 1:
            units += ranges
            first, size = place + 1, 0
            continue
        size += file.size
    if len(files) > first:
        units.append(Unit(first=first, files=len(files) - first))
    return tuple(units)


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
