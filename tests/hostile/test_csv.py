"""CSV with one fault is the clean rows, named rejects or a clear error: never another table."""

import csv
import io

import pytest

from tests.hostile.csv_cases import FAULTS, STYLES, cases, verdicts
from tests.hostile.damage import Fault
from tests.hostile.twin import HEADER, twin_of

CASES = 4
"""Files with each fault; all of them: python -m tests.hostile --scale full."""


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_never_read_as_another_table(fault: Fault) -> None:
    assert [wrong for case in cases(fault, CASES) for wrong in verdicts(case)] == []


@pytest.mark.parametrize("style", STYLES)
def test_the_twin_is_what_pythons_strict_csv_reads(style: str) -> None:
    twin = twin_of(5_000, **STYLES[style])
    read = list(csv.reader(io.StringIO(twin.content().decode(), newline=""), strict=True))
    assert [tuple(row) for row in read] == [HEADER, *twin.rows]
