"""Files that end early, late or damaged, plain and compressed."""

from pathlib import Path

import pytest

from tests.hostile.csv_cases import SIZES, STYLES, parsed_verdicts, verdicts, whole_cases
from tests.hostile.csv_ends import FAULTS, PACKED
from tests.hostile.damage import Fault

QUICK = (
    "gzip: two members",
    "gzip: garbage behind",
    "gzip: checksum",
    "zstd: garbage behind",
    "zstd: second member cut",
    "gzip: bit at 5/8",
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_truncated_file_never_yields_extra_rows(fault: Fault) -> None:
    assert [wrong for case in whole_cases(fault, SIZES, STYLES) for wrong in verdicts(case)] == []


@pytest.mark.parametrize("fault", [f for f in PACKED if f.name in QUICK], ids=lambda fault: fault.name)
def test_a_damaged_wrapper_is_named(fault: Fault, tmp_path: Path) -> None:
    (case,) = whole_cases(fault, {"several blocks": SIZES["several blocks"]}, {"LF": {}})
    assert parsed_verdicts(case, tmp_path)[0] == []
