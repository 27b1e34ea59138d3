"""Units of a source, which are verified and imported side by side: consecutive files, or a range of one file."""

from collections.abc import Sequence
from dataclasses import dataclass

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

    def of(self, files: Sequence[SourceObject]) -> Sequence[SourceObject]:
        """Its files, of those of the source."""
        return files[self.first : self.first + self.files]


def cut(files: Sequence[SourceObject], unit_bytes: int) -> tuple[Unit, ...]:
    """Whole files, in order, up to `unit_bytes` together; a larger file is a unit by itself."""
    units: list[Unit] = []
    first = size = 0
    for place, file in enumerate(files):
        if place > first and size + file.size > unit_bytes:
            units.append(Unit(first=first, files=place - first))
            first, size = place, 0
        size += file.size
    if len(files) > first:
        units.append(Unit(first=first, files=len(files) - first))
    return tuple(units)
