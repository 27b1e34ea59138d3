"""The steps of a release in a small project, without building anything."""

import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from release import __main__ as command
from release import advisories, steps
from release.advisories import Audit
from release.git import git, lines
from release.steps import StepError, complete, release
from release.versions import Version, project_version, set_version

DAY = date(2026, 11, 28)
VERSION = Version(0, 2, 0)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(advisories, "audits", lambda *_: [])
    monkeypatch.setattr(steps, "build", lambda root, _version: (root / "uv.lock", root / "pyproject.toml"))
    monkeypatch.setattr(steps, "docker_answers", lambda: False)
    return []


def test_a_release_dates_the_changelog_sets_the_version_commits_and_tags(project: Path, said: list[str]) -> None:
    release(project, VERSION, DAY, said.append)
    assert "## [Unreleased]\n\n## [0.2.0] - 2026-11-28\n" in (project / "CHANGELOG.md").read_text()
    assert project_version(project) == VERSION
    assert '    "client==0.2.0",\n' in (project / "pyproject.toml").read_text()
    assert git(project, "log", "-1", "--format=%s %D") == "Release 0.2.0 HEAD -> main, tag: v0.2.0"
    changed = ("CHANGELOG.md", "muster/__init__.py", "pyproject.toml", "release/advisories.json")
    assert lines(project, "show", "--name-only", "--format=") == changed
    assert lines(project, "status", "--porcelain") == ()
    assert "images: skipped, Docker does not answer" in said


def test_failed_step_leaves_no_changes_or_tag(project: Path, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise StepError("the wheel lacks core/a.py")

    monkeypatch.setattr(steps, "build", fail)
    with pytest.raises(StepError):
        release(project, VERSION, DAY, said.append)
    assert lines(project, "status", "--porcelain") == ()
    assert (lines(project, "tag"), len(lines(project, "log", "--format=%h"))) == ((), 1)


def test_a_known_vulnerability_ends_a_release(project: Path, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found = Audit(lock="uv.lock", verdict="vulnerable", lines=("lib 0.1.0: GHSA-1",))
    monkeypatch.setattr(advisories, "audits", lambda *_: [found])
    with pytest.raises(StepError, match="known vulnerabilities"):
        release(project, VERSION, DAY, said.append)
    assert said == ["uv.lock: vulnerable\n  lib 0.1.0: GHSA-1"]
    assert (lines(project, "status", "--porcelain"), lines(project, "tag")) == ((), ())


def test_images_carry_the_version(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = project / "docker" / "build.sh"
    script.parent.mkdir()
    script.write_text('#!/bin/sh\necho "$MUSTER_IMAGE $MUSTER_STACK_IMAGE $PYTHON" > built\n')
    script.chmod(0o755)
    monkeypatch.setattr(steps, "docker_answers", lambda: True)
    said: list[str] = []
    steps.images(project, VERSION, said.append)
    assert (project / "built").read_text() == f"muster:0.2.0 muster-stack:0.2.0 {sys.executable}\n"
    assert said == ["images: muster:0.2.0, muster-stack:0.2.0"]


def test_versions_of_other_packages_are_unchanged(project: Path) -> None:
    set_version(project, VERSION)
    text = (project / "pyproject.toml").read_text()
    assert '    "lib==0.1.0",\n' in text
    assert text.endswith('[tool.other]\nversion = "0.1.0"\n')


def test_file_without_a_version_is_named(project: Path) -> None:
    (project / "muster/__init__.py").write_text("")
    with pytest.raises(ValueError, match=r"muster/__init__\.py has the version in 0 places"):
        set_version(project, VERSION)


def test_archive_without_a_file_is_named_with_it() -> None:
    complete(Path("a.whl"), ["m/a.py", "m/b.avsc", "more"], ["m/a.py", "m/b.avsc"])
    with pytest.raises(StepError, match=r"a\.whl lacks m/b\.avsc, m/c\.json"):
        complete(Path("a.whl"), ["m/a.py"], ["m/a.py", "m/c.json", "m/b.avsc"])


@pytest.fixture
def run(
    project: Path, said: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> "Runner":
    del said
    monkeypatch.setattr(command, "ROOT", project)
    monkeypatch.setattr(command, "EXHIBITS", ())
    return Runner(capsys)


class Runner:
    """The command, and what it prints."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str]:
        code = command.main(list(arguments))
        return code, "".join(self._capsys.readouterr())


def test_command_makes_a_release_without_pushing(project: Path, run: Runner) -> None:
    code, printed = run("0.2.0")
    assert (code, lines(project, "tag")) == (0, ("v0.2.0",))
    assert "git push origin main v0.2.0" in printed


def test_the_command_refuses_and_changes_nothing(project: Path, run: Runner) -> None:
    (project / "core" / "a.py").write_text("A = 2\n")
    git(project, "switch", "--quiet", "--create", "mine")
    code, printed = run("0.2.0")
    assert (code, lines(project, "tag")) == (1, ())
    assert "Refused, for 2 reason(s):\n- this is on the branch mine\n  -> merge it" in printed
    assert project_version(project) == Version(0, 1, 0)


def test_dry_run_shows_a_release_without_making_it(project: Path, run: Runner) -> None:
    code, printed = run("0.2.0", "--dry-run")
    assert (code, lines(project, "tag"), project_version(project)) == (0, (), Version(0, 1, 0))
    assert "Release 0.2.0, tag v0.2.0" in printed
    assert '+__version__ = "0.2.0"' in printed


def test_dry_run_of_a_refused_release_continues_and_fails(project: Path, run: Runner) -> None:
    git(project, "switch", "--quiet", "--create", "mine")
    code, printed = run("0.2.0", "--dry-run")
    assert code == 1
    assert "Would be refused, for 1 reason(s):" in printed
    assert "Release 0.2.0, tag v0.2.0" in printed


def test_dry_run_ends_at_an_impossible_step(run: Runner) -> None:
    code, printed = run("0.1.0", "--dry-run")
    assert code == 1
    assert "0.1.0 is not newer than 0.1.0" in printed
    assert "Release 0.1.0" not in printed


def test_failed_program_is_reported_and_nothing_is_tagged(
    project: Path, run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise subprocess.CalledProcessError(2, ["uv", "build"], stderr="no space left")

    monkeypatch.setattr(steps, "build", fail)
    code, printed = run("0.2.0")
    assert (code, lines(project, "tag")) == (1, ())
    assert "no space left" in printed
