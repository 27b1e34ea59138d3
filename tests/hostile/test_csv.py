"""CSV with one fault gives the clean rows, named rejects or a clear error: never another table."""

import csv
import io

import pytest

from tests.hostile.csv_cases import FAULTS, SIZES, STYLES, all_places, cases, verdicts
from tests.hostile.csv_structure import FAULTS as OF_STRUCTURE
from tests.hostile.damage import Fault
from tests.hostile.judging import naive_outcome
from tests.hostile.naive_csv import known, read
from tests.hostile.twin import HEADER, WANTED, twin_of

CASES = 4
"""Files with each fault; all of them: python -m tests.hostile --scale full."""


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_faulty_csv_is_never_read_as_another_table(fault: Fault) -> None:
    assert [wrong for case in cases(fault, CASES) for wrong in verdicts(case)] == []


@pytest.mark.parametrize("style", STYLES)
def test_twin_equals_pythons_strict_csv(style: str) -> None:
    twin = twin_of(5_000, **STYLES[style])
    read = list(csv.reader(io.StringIO(twin.content().decode(), newline=""), strict=True))
    assert [tuple(row) for row in read] == [HEADER, *twin.rows]


@pytest.mark.parametrize("fault", OF_STRUCTURE, ids=lambda fault: fault.name)
def test_naive_reader_caches_similar_files_correctly(fault: Fault) -> None:
    """Lets large files be read only where they differ."""
    like = known(twin_of(SIZES["several blocks"]).content(), WANTED)
    for place in all_places(anywhere=True)[: len(all_places(anywhere=True)) // len(STYLES)]:
        content = fault.damage(place.twin, place.row).content
        alone = naive_outcome(lambda content=content: read(content, WANTED))
        assert naive_outcome(lambda content=content: read(content, WANTED, like=like)) == alone
