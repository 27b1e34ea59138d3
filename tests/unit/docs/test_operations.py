"""The runbook names only metrics, commands and tests that exist."""

import re
from pathlib import Path

from schemas.metrics import METRICS
from tests.unit.orchestration.cli.test_command_line import LEAVES

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def test_every_metric_of_the_runbook_exists() -> None:
    named = set(re.findall(r"`(muster_[a-z_]+)", TEXT))
    assert named - set(METRICS) == set()
    assert len(named) >= 8


def test_every_command_of_the_runbook_exists() -> None:
    known = {" ".join(path) for path in LEAVES}
    for said in re.findall(r"`(muster [a-z][^`]*)`", TEXT):
        assert any(said == command or said.startswith(f"{command} ") for command in known), said


def test_every_test_of_the_runbook_exists() -> None:
    defined = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    named = set(re.findall(r"`(test_\w+)`", TEXT))
    assert named
    assert named - defined == set()
