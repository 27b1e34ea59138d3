"""Each class of faults at each position in files of each size, read in several ways, compared with two oracles."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from connectors.sources.compression import MAGIC_BYTES, sniff
from tests.hostile import csv_headers, csv_structure, csv_text, csv_values
from tests.hostile.damage import Damage, Fault
from tests.hostile.judging import Outcome, against_naive, against_twin, naive_outcome
from tests.hostile.naive_csv import Known, known, read
from tests.hostile.reading import parse_measured, read_csv
from tests.hostile.twin import HEADER, SPEC, WANTED, Twin, twin_of, written

FAULTS: Final = (*csv_structure.FAULTS, *csv_headers.FAULTS, *csv_text.FAULTS, *csv_values.FAULTS)
BLOCK: Final = 4096
"""Block size of the scanner for cases read in this process."""
SIZES: Final = {"tiny": 0, "just over a block": BLOCK + 200, "several blocks": 3 * BLOCK}
PHASES: Final = (-1, 0, 1, 20, 45, 70)
"""Bytes of the faulty record before the border; -1: the border is in the preceding line end, if that has two bytes."""
LONGEST_RECORD: Final = 250
MARGIN: Final = 100_000
STYLES: Final[dict[str, dict[str, Any]]] = {
    "LF": {},
    "CRLF": {"line_end": b"\r\n"},
    "quoted": {"always_quoted": True},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One broken file. `like`: a similar clean file, so that the naive reader need not read all of it."""

    fault: Fault
    style: str
    size: str
    position: str
    twin: Twin
    damage: Damage
    like: Known | None = None

    @property
    def name(self) -> str:
        return f"{self.fault.name} / {self.position} / {self.size} / {self.style}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a fault can be: in a clean file of a style and size, at a row."""

    style: str
    size: str
    position: str
    twin: Twin
    row: int


@lru_cache
def all_places(*, anywhere: bool) -> list[Place]:
    """All places, with the small blocks of this process; for a fault without a position, one place per file."""
    return [
        Place(style=style, size=size, position=position, twin=twin, row=row)
        for style, settings in STYLES.items()
        for size, size_bytes in SIZES.items()
        for clean in [twin_of(size_bytes, **settings)]
        for position, twin, row in (places(clean, BLOCK) if anywhere else [("whole file", clean, 0)])
    ]


def cases(fault: Fault, most: int | None = None) -> Iterator[Case]:
    """Files of a fault at all places, or at up to `most` of every kind. The choice varies from fault to fault."""
    where = all_places(anywhere=fault.anywhere)
    step = 1 if most is None else -(-len(where) // most)
    for place in where[FAULTS.index(fault) % step :: step]:
        damage = fault.damage(place.twin, place.row)
        yield Case(
            fault=fault, style=place.style, size=place.size, position=place.position, twin=place.twin, damage=damage
        )


def whole_cases(fault: Fault, sizes: dict[str, int], styles: dict[str, dict[str, Any]]) -> Iterator[Case]:
    """Files with a fault that has no position."""
    for style, settings in styles.items():
        for size, size_bytes in sizes.items():
            twin = twin_of(size_bytes, **settings)
            damage = fault.damage(twin, 0)
            yield Case(fault=fault, style=style, size=size, position="whole file", twin=twin, damage=damage)


def real_cases(fault: Fault, block: int) -> Iterator[Case]:
    """Files just over one and of two product blocks, with the fault in the first row, at a border, in the last row."""
    for size, size_bytes, chosen in (
        ("just over a block", block + MARGIN, slice(2, 5)),
        ("two blocks", 2 * block, slice(1)),
    ):
        like, where = _large(size_bytes, block)
        for position, twin, row in where[chosen] if fault.anywhere else [("whole file", where[0][1], 0)]:
            damage = fault.damage(twin, row)
            yield Case(fault=fault, style="LF", size=size, position=position, twin=twin, damage=damage, like=like)


@lru_cache(2)
def _large(size_bytes: int, block: int) -> tuple[Known, list[tuple[str, Twin, int]]]:
    """A clean file, and the places in it and in its variants with a row at a border."""
    clean = twin_of(size_bytes)
    return known(clean.content(), WANTED), list(places(clean, block, (1, 30)))


def places(clean: Twin, block: int, phases: Sequence[int] = PHASES) -> Iterator[tuple[str, Twin, int]]:
    """(position, twin, row) of the first, middle and last row and, if there is one, of a row at a border."""
    yield "first row", clean, 0
    yield "middle", clean, len(clean.rows) // 2
    yield "last row", clean, len(clean.rows) - 1
    room = block - len(written(HEADER, always=clean.always_quoted)) - LONGEST_RECORD
    row = 0
    for row, record in enumerate(clean.records()):  # noqa: B007  # the row is what is looked for
        room -= len(record) + len(clean.line_end)
        if room < 0:
            break
    else:
        return
    for phase in phases:
        yield f"border {phase} bytes behind its start", clean.with_border_at(row, block, phase), row


def verdicts(case: Case, *, block: int = BLOCK) -> Iterator[str]:
    """Yield what is wrong with the product's reading of a case; nothing if it is right."""
    content = case.damage.content
    expected = naive_outcome(lambda: read(content, WANTED))
    if case.fault.detectable and (wrong := against_twin(case.twin, case.damage, expected)):
        yield f"{case.name}: the naive reader: {wrong}"
    for block_bytes in (block, 1 << 20) if len(content) > block else (61, 1 << 20):
        yield from judge(case, expected, read_csv(content, SPEC, block_bytes=block_bytes), f"blocks of {block_bytes}")


def parsed_verdicts(case: Case, folder: Path) -> tuple[list[str], int]:
    """Same as `verdicts`, through the child, and its peak in bytes. A compressed file has only the twin as oracle."""
    content = case.damage.content
    path = folder / "case.csv"
    path.write_bytes(content)
    outcome, peak = parse_measured(path, SPEC)
    if sniff(content[:MAGIC_BYTES]) == "none":
        expected = naive_outcome(lambda: read(content, WANTED, like=case.like))
        return list(judge(case, expected, outcome, "the child")), peak
    wrong = against_twin(case.twin, case.damage, outcome)
    return [f"{case.name}, the child: {wrong}"] if wrong else [], peak


def judge(case: Case, expected: Outcome, outcome: Outcome, how: str) -> Iterator[str]:
    """Yield what is wrong with one outcome."""
    if case.fault.detectable and (wrong := against_twin(case.twin, case.damage, outcome)):
        yield f"{case.name}, {how}: {wrong}"
    if wrong := against_naive(expected, outcome):
        yield f"{case.name}, {how}: {wrong}"
