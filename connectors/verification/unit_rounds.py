"""Which readings of units count, over as many rounds as that takes.

Whole files and row groups are read once. Ranges of a text file are chained (`connectors.sources.chaining`): one whose
begin was guessed wrongly is read again in the next round, side by side with the other ones that do not fit. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain as concatenated
from itertools import groupby

from connectors.sources.chaining import ROUNDS, Again, chain
from connectors.sources.ranges import FileRange
from connectors.sources.units import Unit
from connectors.verification.units import CountedUnit, UnitRead
from schemas.errors import FatalError


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A unit to read again; `place`: the number of the planned unit that it replaces."""

    place: int
    unit: Unit


Round = tuple[Reading, ...]
"""Units that are read again side by side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """The planned units and those of the rounds after them, with the numbers under which each leaves its result."""

    planned: Sequence[Unit]
    rounds: Sequence[Round] = ()

    @property
    def all(self) -> tuple[Unit, ...]:
        """By number."""
        return (*self.planned, *(one.unit for one in concatenated.from_iterable(self.rounds)))

    @property
    def newest(self) -> range:
        """Numbers of the newest round; of all that were planned, if there was none."""
        total = len(self.planned) + sum(map(len, self.rounds))
        return range(total - len(self.rounds[-1]) if self.rounds else 0, total)

    def readings(self) -> list[list[int]]:
        """Of each planned unit, the numbers of its readings, in order."""
        found = [[number] for number in range(len(self.planned))]
        for number, one in enumerate(concatenated.from_iterable(self.rounds), len(self.planned)):
            found[one.place].append(number)
        return found


def settle(units: Units, read: Sequence[UnitRead]) -> tuple[CountedUnit, ...] | Round:
    """The units that count, up to the first fault of the source; or what has to be read for them.

    `read`: the results of all units, by number. Raises `FatalError` BAD_RANGE if ranges do not end after all rounds.
    """
    counted: list[CountedUnit] = []
    again: list[Reading] = []
    readings = units.readings()
    for _, of_file in groupby(enumerate(units.planned), key=_file_of_text):
        places = [place for place, _ in of_file]
        if units.planned[places[0]].part is None:
            counted.append(CountedUnit(unit=units.planned[places[0]], number=places[0]))
        else:
            found = _chained(units, places, [readings[place] for place in places], read)
            if isinstance(found, Again):
                again += [
                    Reading(place=places[at], unit=units.planned[places[at]].reading(part))
                    for at, part in found.ranges.items()
                ]
                continue
            counted += found
        if read[counted[-1].number].error is not None:
            break
    if again and len(units.rounds) > ROUNDS:
        raise FatalError("BAD_RANGE", f"ranges of text do not end after {len(units.rounds)} rounds")
    return tuple(again) or tuple(counted)


def _file_of_text(numbered: tuple[int, Unit]) -> tuple[int, int]:
    """The same for ranges of the same text file, and for no other units."""
    place, unit = numbered
    return (unit.first, -1) if unit.part is not None else (unit.first, place)


def _chained(
    units: Units, places: Sequence[int], readings: Sequence[Sequence[int]], read: Sequence[UnitRead]
) -> list[CountedUnit] | Again:
    parts = [part for place in places if (part := units.planned[place].part) is not None]
    verdict = chain(parts, [[read[number].outcome for number in of] for of in readings], again=len(units.rounds))
    if isinstance(verdict, Again):
        return verdict
    found = []
    for link in verdict.links:
        number = readings[link.place][link.reading]
        outcome, unit = read[number].outcome, units.planned[places[link.place]]
        if outcome.begin is not None and outcome.end is not None:
            unit = unit.reading(_known(parts[link.place], outcome.begin, outcome.end))
        found.append(CountedUnit(unit=unit, number=number, rows=link.rows, lines=link.lines))
    return found


def _known(part: FileRange, begin: int, end: int) -> FileRange:
    """The range of records between two of their ends: nothing behind it is read."""
    return replace(part, begin=begin, end=end, exact=True, bounded=True, beyond=0)
