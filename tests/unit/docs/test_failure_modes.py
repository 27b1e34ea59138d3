import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(("page", "least"), [("failure-modes.md", 40), ("security.md", 15)])
def test_every_test_named_on_a_page_exists(page: str, least: int) -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / page).read_text()))
    defined = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    assert named - defined == set()
    assert len(named) > least


def test_every_row_of_the_failure_modes_names_a_test() -> None:
    for line in (ROOT / "docs" / "failure-modes.md").read_text().splitlines():
        if line.startswith("| ") and not line.endswith("| shown by |"):
            assert "`test_" in line, line


def test_each_canary_names_its_test_or_is_open() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    rows = re.findall(r"^\| (\d+) \| .* \| (.*) \|$", page, re.MULTILINE)
    numbers = [int(number) for number, _ in rows]
    assert numbers == sorted(set(numbers))
    assert numbers[:35] == list(range(1, 36))
    assert all("`test_" in shown or shown == "*open*" for _, shown in rows)
