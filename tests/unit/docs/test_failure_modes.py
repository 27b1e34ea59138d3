import re
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_every_test_that_the_failure_modes_name_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "failure-modes.md").read_text()))
    defined = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    assert named - defined == set()
    assert len(named) > 40


def test_every_row_of_the_failure_modes_names_a_test() -> None:
    for line in (ROOT / "docs" / "failure-modes.md").read_text().splitlines():
        if line.startswith("| ") and not line.endswith("| shown by |"):
            assert "`test_" in line, line
