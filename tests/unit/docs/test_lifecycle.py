import itertools
import re
from pathlib import Path

from segmentation.jobs import STATES

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "lifecycle.md").read_text()
HAPPENS = ("crash", "timeout", "retry", "cancel", "duplicate")


def test_every_state_has_an_outcome_and_tests_for_every_event() -> None:
    rows = re.findall(r"^\| ([A-Z]+) \| (\w+) \| (.+) \| (`test_.+`) \|$", TEXT, re.MULTILINE)
    assert {(state, what) for state, what, _, _ in rows} == set(itertools.product(STATES, HAPPENS))
    assert len(rows) == len(STATES) * len(HAPPENS)


def test_every_test_of_the_lifecycle_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", TEXT))
    defined = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    assert named - defined == set()
    assert len(named) > 30
