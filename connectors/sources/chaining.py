"""Chains the ranges of a file that were read side by side: each must begin exactly where the one before it ended.

The first range begins with the file, so by induction a chain to its end is what one pass would have read. A range whose
begin turned out wrong is read again; at the same time, so are the ones behind it that do not fit the end of the one
before them, whose begins are only likely. After `ROUNDS` such rounds the rest of the file is read in sequence: slow,
and never wrong. What a range said counts only once it is in the chain, its faults included.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from connectors.sources.ranges import FileRange
from connectors.sources.rejects import RejectBatch
from schemas.errors import UserError

ROUNDS: Final = 3
"""How often ranges are read again side by side."""
_LINE: Final = re.compile(r"(?<=\bin line )\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeOutcome:
    """What one reading of a range found: where its records begin and end, how many rows and line ends they have.

    `begin` is None if the range did not end where it should have. `fault` (`UserError.as_record`): of the file, if the
    begin is right; then there is no end.
    """

    begin: int | None = None
    end: int | None = None
    rows: int = 0
    lines: int = 0
    fault: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A reading in the chain: number of the range, and of its reading; rows and line ends of the file before it."""

    place: int
    reading: int
    rows: int
    lines: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Chained:
    """The readings that make up the file, in order. With a fault of the file, the last one has it."""

    links: tuple[Link, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """Ranges to read next, side by side, by the numbers of those that they replace."""

    ranges: Mapping[int, FileRange] = field(default_factory=dict)


def first_ranges(cuts: Sequence[int], size: int) -> tuple[FileRange, ...]:
    """The ranges of a file that is cut at these offsets (ascending, within it), to be read side by side first."""
    begins = [0, *cuts]
    return tuple(
        FileRange(begin=begin, end=end, size=size, exact=not begin, bounded=bool(begin))
        for begin, end in zip(begins, [*cuts, size], strict=True)
    )


def chain(ranges: Sequence[FileRange], readings: Sequence[Sequence[RangeOutcome]], *, again: int) -> Chained | Again:
    """The chain, or what must be read for it. `ranges`: as `first_ranges`, in order. `again`: rounds of `Again` so far.

    `readings`: of each range, all readings so far; the readings of `Again` are those of the ranges that they replace.
    """
    links: list[Link] = []
    at = rows = lines = 0
    for place, (part, of_part) in enumerate(zip(ranges, readings, strict=True)):
        if at >= part.end and place:
            continue  # a record that began before it reaches over it
        found = next((k for k, one in enumerate(of_part) if one.begin == at), None)
        if found is None:
            break
        links.append(Link(place=place, reading=found, rows=rows, lines=lines))
        outcome = of_part[found]
        if outcome.end is None:
            return Chained(links=tuple(links))
        at, rows, lines = outcome.end, rows + outcome.rows, lines + outcome.lines
    else:
        return Chained(links=tuple(links))
    if again >= ROUNDS:
        return Again(ranges={place: replace(part, begin=at, end=part.size, exact=True, bounded=False)})
    first = replace(part, begin=at, exact=True, bounded=False)
    return Again(ranges={place: first, **_likely(ranges, readings, place)})


def _likely(
    ranges: Sequence[FileRange], readings: Sequence[Sequence[RangeOutcome]], behind: int
) -> dict[int, FileRange]:
    """Of the ranges behind one, those that do not fit the last reading of the range before them."""
    found = {}
    for place in range(behind + 1, len(ranges)):
        before = readings[place - 1][-1].end if readings[place - 1] else None
        part = ranges[place]
        if before is None or before >= part.end or any(one.begin == before for one in readings[place]):
            continue
        found[place] = replace(part, begin=before, exact=True, bounded=True)
    return found


def rebased(rejects: RejectBatch, link: Link) -> RejectBatch:
    """The rejects of a reading with the ordinals and lines of the file."""
    batch = rejects.batch
    for name, before in (("ordinal", link.rows), ("line", link.lines)):
        at = batch.schema.get_field_index(name)
        batch = batch.set_column(at, batch.schema.field(at), pc.add(batch.column(at), pa.scalar(before, pa.int64())))
    return RejectBatch(batch)


def rebased_fault(fault: UserError, link: Link) -> UserError:
    """The fault of a reading with the line of the file, which its text names, too."""
    if "line" not in fault.detail or not link.lines:
        return fault
    line = int(str(fault.detail["line"])) + link.lines
    return UserError(fault.code, _LINE.sub(str(line), fault.message, count=1), **{**fault.detail, "line": line})
