"""The report at the end of a run: the time of each suite, and tests that are slow without a reason."""

import json
from pathlib import Path

import pytest

from tests.budgets import suite_of
from tests.unit.testing.inner import run, write_suite

SLOW = """
import pytest, time

def sleeps(): time.sleep(0.3)

def test_without_a_reason(): sleeps()

@pytest.mark.slow("it has to")
def test_with_a_reason(): sleeps()

@pytest.mark.faults("at length")
def test_of_another_tier(): sleeps()

@pytest.fixture
def prepared(): sleeps()

def test_that_is_prepared_for_long(prepared): pass
"""
PLUGIN = "import tests.budgets\ntests.budgets.SLOW_S = 0.25\npytest_plugins = ['tests.budgets']\n"


@pytest.mark.parametrize(
    ("test", "suite"),
    [
        ("tests/integration/lake/test_sql.py::test_it[a/b::c]", "integration/lake"),
        ("tests/unit/streams/test_it.py::test_it", "unit/streams"),
        ("tests/unit/orchestration/cli/test_it.py::test_it", "unit/orchestration/cli"),
        ("tests/unit/test_it.py::test_it", "unit"),
        ("tests/engine/states/test_it.py::test_it", "engine"),
        ("tests/test_it.py::test_it", "tests"),
    ],
)
def test_a_suite_is_a_folder_and_deeper_among_unit_and_integration_tests(test: str, suite: str) -> None:
    assert suite_of(test) == suite


@pytest.mark.parametrize("processes", ["0", "2"])
def test_suites_are_summed_and_unexplained_slow_tests_named(tmp_path: Path, processes: str) -> None:
    files = {
        "conftest.py": PLUGIN,
        "tests/integration/lake/test_slow.py": SLOW,
        "tests/e2e/test_quick.py": "def test_quick(): pass\ndef test_failing(): assert False\n",
    }
    write_suite(tmp_path, files, "suite_budgets =\n    integration/lake = 0.5\n    e2e = 60\n")
    ran = run(tmp_path, ["pytest", "-q", "-n", processes, "--suite-times=times.json"])
    times = json.loads((tmp_path / "times.json").read_text())
    lake, e2e = times["suites"]["integration/lake"], times["suites"]["e2e"]
    assert (lake["tests"], lake["budget_s"], e2e["tests"], e2e["budget_s"]) == (4, 0.5, 2, 60)
    assert lake["seconds"] > 1.2
    assert list(times["slow"]) == ["tests/integration/lake/test_slow.py::test_without_a_reason"]
    lines = [line for line in ran.stdout.splitlines() if " s  " in line or " tests  " in line]
    assert [line.split(maxsplit=2)[-1].partition("tests  ")[2] for line in lines[:2]] == [
        "integration/lake  over its budget of 0.5 s",
        "e2e",
    ]
    assert lines[2].endswith("tests/integration/lake/test_slow.py::test_without_a_reason")
    assert ran.returncode == 1  # because of the failing test, not the slow ones


def test_a_run_of_one_suite_within_its_budget_prints_nothing(tmp_path: Path) -> None:
    write_suite(tmp_path, {"conftest.py": PLUGIN, "tests/integration/lake/test_quick.py": "def test_quick(): pass\n"})
    ran = run(tmp_path, ["pytest", "-q"])
    assert (ran.returncode, "lake" in ran.stdout) == (0, False)
