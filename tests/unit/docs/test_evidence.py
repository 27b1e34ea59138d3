import ast
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.mutation.mutants import MUTANTS, SCHEDULES, SEGMENT_SCHEDULES, SIMULATED, UNIT_SCHEDULES
from tests.mutation.patches import Patches
from tests.prove import evidence
from tests.prove.exhibits import Exhibit, Section, Table
from tests.prove.kept import Kept
from tests.prove.mutants import PROMISES
from tests.prove.pool import in_processes
from tests.prove.registry import EXHIBITS
from tests.simulation.run import IMPORTS, SEGMENTS, UNITS, Scenario
from tests.simulation.seeds import SEEDS
from tests.trees import PRODUCT

ROOT = Path(__file__).parents[3]


def test_every_promise_has_a_mutant_that_breaks_it_and_every_suite_exists() -> None:
    assert {number for mutant in MUTANTS for number in mutant.promises} == PROMISES.keys()
    suites = {suite for mutant in MUTANTS for suite in mutant.caught_by} - SIMULATED
    assert [suite for suite in sorted(suites) if not (ROOT / suite.partition("::")[0]).is_file()] == []
    assert all(mutant.caught_by and mutant.what for mutant in MUTANTS)


def test_mutants_are_many_and_distinct() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 15


def test_every_mutant_finds_its_target_and_is_reverted() -> None:
    for mutant in MUTANTS:
        patches = Patches()
        mutant.bug(patches)
        assert patches.replaced, mutant.name
        patches.undo()
        assert all(vars(owner)[name] is original for owner, name, original in patches.replaced), mutant.name


@pytest.mark.parametrize(
    ("suite", "scenario"),
    [(SCHEDULES, IMPORTS), (SEGMENT_SCHEDULES, SEGMENTS), (UNIT_SCHEDULES, UNITS)],
    ids=["imports", "segments", "units"],
)
def test_simulator_mutants_and_pinned_schedules_correspond(suite: str, scenario: Scenario) -> None:
    pinned = SEEDS[scenario.name].pinned
    killed = {name for names in pinned.values() for name in names}
    judged = {mutant.name for mutant in MUTANTS if suite in mutant.caught_by}
    assert judged - killed == set()
    assert killed - judged - set(scenario.situations) == set()
    assert all(pinned.values())


def test_every_mutant_dies_outside_the_simulator() -> None:
    assert [mutant.name for mutant in MUTANTS if set(mutant.caught_by) <= SIMULATED] == []


def test_exhibit_writes_only_its_own_section(tmp_path: Path) -> None:
    def exhibit(name: str) -> Exhibit:
        return Exhibit(name=name, title=name.title(), covers=(), run=lambda _scale, _say, _kept: Section(summary=name))

    page, both = tmp_path / "evidence.md", (exhibit("one"), exhibit("two"))
    table = Table(header=("a", "b"), rows=[("1", "2")], text="Numbers:")
    evidence.write(both, {"one": (Section(summary="First.", tables=[table]), "Today.")}, page)
    evidence.write(both, {"two": (Section(summary="Second.", failures=["it broke"]), "Later.")}, page)
    written = page.read_text()
    assert "**First.** Today." in written
    assert "Numbers:\n\n| a | b |\n|---|---|\n| 1 | 2 |" in written
    assert "**Second.** Later.\n\n- **failed:** it broke" in written
    evidence.write(both, {"one": (Section(summary="Anew."), "Now.")}, page)
    assert "First" not in page.read_text()
    assert "**Second.** Later." in page.read_text()


def test_section_counts_commits_since_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exhibit = Exhibit(name="one", title="One", covers=(), run=lambda _scale, _say, _kept: Section(summary="one"))
    page = tmp_path / "evidence.md"
    behind = {"abc1234": 0}
    monkeypatch.setattr(evidence, "commits_since", behind.get)
    evidence.write([exhibit], {"one": (Section(summary="Held."), "Today, commit abc1234 with changes, on 2.")}, page)
    for count in (12, 13):
        behind["abc1234"] = count
        evidence.write([exhibit], {}, page)
        assert f"commit abc1234 with changes, {count} behind, on 2." in page.read_text()
    assert evidence.ages(page) == ["one: commit abc1234 with changes, 13 behind"]


RUN_BY = {
    "schedules": tuple(f"tests/simulation/{path.name}" for path in (ROOT / "tests/simulation").glob("*.py")),
    "segments": ("tests/simulation/segments", "tests/naive_rules.py"),
    "mutants": ("tests/mutation",),
    "faults": ("tests/faults/sweep.py", "tests/faults/imports.py"),
    "hostile": ("tests/hostile",),
    "spark": ("tests/spark_cases.py",),
    "soak": ("tests/faults",),
}
"""Tests that each exhibit runs; all of them for rotating slices."""


def covered(exhibit: Exhibit) -> set[str]:
    listed = ["git", "-C", str(ROOT), "ls-files", "--cached", "--", *exhibit.covers]
    return set(subprocess.run(listed, capture_output=True, text=True, check=True).stdout.splitlines())


def imported(*places: str) -> set[str]:
    """Product files that the code below these paths imports."""
    files = [
        file
        for place in places
        for file in ((ROOT / place).rglob("*.py") if (ROOT / place).is_dir() else [ROOT / place])
    ]
    found = set()
    for node in (node for file in files for node in ast.walk(ast.parse(file.read_text()))):
        if isinstance(node, ast.ImportFrom) and node.module:
            for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                found.add(f"{name.replace('.', '/')}.py")
    return {file for file in found if file.split("/")[0] in PRODUCT and (ROOT / file).is_file()}


@pytest.mark.parametrize("exhibit", EXHIBITS, ids=lambda exhibit: exhibit.name)
def test_exhibit_covers_exactly_the_imports_of_its_tests(exhibit: Exhibit) -> None:
    files = covered(exhibit)
    assert imported(*RUN_BY.get(exhibit.name, ())) - files == set()
    for named in exhibit.covers:
        path = named.removeprefix(":!").removeprefix(":(glob)").removesuffix("/*.py")
        assert (ROOT / path).exists(), named


class Named(Patches):
    """Patches that record the modules they name."""

    def __init__(self) -> None:
        super().__init__()
        self.modules: set[str] = set()

    def replace(self, name: str, make: Callable[[Any], Any]) -> None:
        self.modules.add(name.partition(":")[0])
        super().replace(name, make)


def test_mutants_cover_every_module_that_one_breaks() -> None:
    [exhibit] = [exhibit for exhibit in EXHIBITS if exhibit.name == "mutants"]
    patches = Named()
    for mutant in MUTANTS:
        mutant.bug(patches)
        patches.undo()
        patches.replaced.clear()
    assert {f"{module.replace('.', '/')}.py" for module in patches.modules} - covered(exhibit) == set()


def test_stopped_exhibit_resumes(tmp_path: Path) -> None:
    kept = Kept("one", tmp_path)
    kept["first",] = "kept"
    work = [("first",), ("second",)]
    assert dict(in_processes(str.upper, work, kept=kept, processes=1, deadline_s=60)) == {
        ("first",): "kept",
        ("second",): "SECOND",
    }
    assert dict(in_processes(str.upper, work, kept=kept, processes=1, deadline_s=0))["second",] == "SECOND"
    kept.forget()
    assert dict(in_processes(str.upper, work, kept=kept, processes=1, deadline_s=0)) == {}


def test_page_has_a_passing_result_of_every_exhibit() -> None:
    page = evidence.PAGE.read_text(encoding="utf-8")
    sections = evidence.sections(page)
    assert list(sections) == [exhibit.name for exhibit in EXHIBITS]
    assert [name for name, text in sections.items() if not re.search(r"commit [0-9a-f]{7,}, ", text)] == []
    assert "**failed:**" not in page
