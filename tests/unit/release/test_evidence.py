"""Evidence is outdated once a file that it covers differs from the commit of the evidence."""

from pathlib import Path

import pytest

from release.evidence import shown
from release.git import git
from tests.prove.exhibits import Exhibit, Section
from tests.unit.release.conftest import commit

COVERS = ("core", ":!core/side", "muster")


def exhibit(*covers: str) -> Exhibit:
    return Exhibit(name="one", title="One", covers=covers or COVERS, run=lambda *_: Section(summary=""))


def written(root: Path, commit_: str, more: str = "") -> None:
    text = (
        f"<!-- exhibit one -->\n**Held.** 2026-11-28, 1 min, commit {commit_}, on 2 cores.\n{more}<!-- end of one -->\n"
    )
    (root / "docs" / "evidence.md").write_text(text)


def changed(root: Path) -> tuple[str, ...]:
    [found] = shown(root, [exhibit()])
    assert found.commit is not None
    return found.changed


def test_only_changes_of_covered_code_outdate_evidence(project: Path) -> None:
    written(project, git(project, "rev-parse", "--short=7", "HEAD"))
    commit(project, shell__c="C = 2\n", core__side__b="B = 2\n")
    assert changed(project) == ()
    commit(project, core__a="A = 2\n")
    assert changed(project) == ("core/a.py",)
    commit(project, core__a="A = 1\n")  # as before
    assert changed(project) == ()


def test_moved_file_is_a_change(project: Path) -> None:
    written(project, git(project, "rev-parse", "--short=7", "HEAD"))
    git(project, "mv", "core/a.py", "shell/a.py")
    commit(project)
    assert changed(project) == ("core/a.py",)


@pytest.mark.parametrize(("more", "outdated"), [("", ()), ("B = 1\n", ("muster/__init__.py",))])
def test_the_version_is_no_change_of_the_package_that_has_it(
    project: Path, more: str, outdated: tuple[str, ...]
) -> None:
    written(project, git(project, "rev-parse", "--short=7", "HEAD"))
    package = project / "muster/__init__.py"
    package.write_text(package.read_text().replace("0.1.0", "0.2.0") + more)
    commit(project)
    assert changed(project) == outdated


def test_page_names_failures_and_runs_with_uncommitted_changes(project: Path) -> None:
    head = git(project, "rev-parse", "--short=7", "HEAD")
    written(project, f"{head} with changes, 12 behind", "- **failed:** it broke\n")
    [found] = shown(project, [exhibit()])
    assert (found.commit, found.with_changes, found.failed) == (head, True, True)


def test_unknown_commit_or_missing_section_is_no_evidence(project: Path) -> None:
    assert [found.commit for found in shown(project, [exhibit()])] == [None]
    written(project, "abcdef0")
    assert [found.commit for found in shown(project, [exhibit()])] == [None]
