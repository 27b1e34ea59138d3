"""A release is refused for every reason at once, each with a remedy."""

from dataclasses import replace

import pytest

from release.evidence import Shown
from release.refusals import State, refusals
from release.versions import Version

FRESH = Shown(name="schedules", commit="abc1234")
READY = State(
    asked="0.2.0",
    current=Version(0, 1, 0),
    branch="main",
    uncommitted=(),
    tags=("v0.1.0",),
    entries="### Added\n- A thing.",
    evidence=(FRESH, Shown(name="mutants", commit="abc1234")),
)


def reasons(**changes: object) -> list[str]:
    return [refusal.why for refusal in refusals(replace(READY, **changes))]  # type: ignore[arg-type]


def test_clean_main_with_entries_and_fresh_evidence_is_released() -> None:
    assert refusals(READY) == ()


@pytest.mark.parametrize("asked", ["0.2", "v0.2.0", "0.2.0rc1", "00.2.0", "0.2.0\n", "٠.٢.٠", ""])
def test_version_without_three_numbers_is_refused(asked: str) -> None:
    assert reasons(asked=asked) == [f"{asked!r} is not a version"]


@pytest.mark.parametrize("asked", ["0.1.0", "0.0.9"])
def test_older_or_equal_version_is_refused(asked: str) -> None:
    assert reasons(asked=asked, tags=()) == [f"{asked} is not newer than 0.1.0"]


def test_versions_compare_by_number() -> None:
    assert reasons(asked="0.10.0", current=Version(0, 9, 0)) == []
    assert reasons(asked="0.9.0", current=Version(0, 10, 0)) == ["0.9.0 is not newer than 0.10.0"]


def test_existing_tag_is_refused() -> None:
    assert reasons(tags=("v0.1.0", "v0.2.0")) == ["the tag v0.2.0 exists"]


@pytest.mark.parametrize(
    ("branch", "why"), [("mine", "this is on the branch mine"), ("", "this is on no branch"), ("main2", None)]
)
def test_branch_other_than_main_is_refused(branch: str, why: str | None) -> None:
    assert reasons(branch=branch) == [why or f"this is on the branch {branch}"]


def test_uncommitted_changes_are_refused_and_named() -> None:
    few, many = (" M a.py", "?? b.py"), tuple(f" M {name}.py" for name in "abcdef")
    assert reasons(uncommitted=few) == ["the working tree has changes: a.py, b.py"]
    assert reasons(uncommitted=many) == ["the working tree has changes: a.py, b.py, c.py and 3 more"]


def test_a_changelog_without_entries_is_refused() -> None:
    assert reasons(entries="") == ["the section Unreleased of CHANGELOG.md has no entry"]


@pytest.mark.parametrize(
    ("shown", "why"),
    [
        (
            replace(FRESH, changed=("schemas/ids.py", "streams/lanes.py")),
            "files that it covers have changed since abc1234: schemas/ids.py, streams/lanes.py",
        ),
        (replace(FRESH, failed=True), "some checks failed at abc1234"),
        (replace(FRESH, with_changes=True), "it ran on abc1234 with uncommitted changes"),
        (replace(FRESH, commit=None), "docs/evidence.md has no evidence for a commit that git knows"),
    ],
)
def test_outdated_or_failed_exhibit_is_refused(shown: Shown, why: str) -> None:
    [refusal] = refusals(replace(READY, evidence=(shown, FRESH)))
    assert refusal.why == f"schedules: {why}"
    assert refusal.remedy == "make prove EXHIBIT=schedules, then commit docs/evidence.md"


def test_all_reasons_are_listed_together_with_remedies() -> None:
    everything = State(
        asked="0.1.0",
        current=Version(0, 1, 0),
        branch="mine",
        uncommitted=(" M a.py",),
        tags=("v0.1.0",),
        entries="",
        evidence=(replace(FRESH, commit=None), replace(FRESH, name="mutants", changed=("a.py",))),
    )
    found = refusals(everything)
    assert len(found) == 7
    assert all(refusal.remedy for refusal in found)
