"""Checks whether the evidence in docs/evidence.md is up to date with the code that it covers."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from release.git import git, knows, lines
from release.versions import LOCK, PROJECT
from tests.prove.evidence import COMMIT, FAILED, sections
from tests.prove.exhibits import Exhibit

PAGE: Final = "docs/evidence.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What the page says about one exhibit. `changed`: files it covers that have changed since.

    `commit` is None if the page names no commit, or one that git does not know.
    """

    name: str
    commit: str | None
    with_changes: bool = False
    failed: bool = False
    changed: tuple[str, ...] = ()


def shown(root: Path, exhibits: Iterable[Exhibit]) -> tuple[Shown, ...]:
    """What the page says about each exhibit, in the exhibits' order. A missing section has no commit."""
    page = root / PAGE
    found = sections(page.read_text(encoding="utf-8")) if page.exists() else {}
    return tuple(_shown(root, exhibit, found) for exhibit in exhibits)


def _shown(root: Path, exhibit: Exhibit, found: Mapping[str, str]) -> Shown:
    text = found.get(exhibit.name, "")
    said = COMMIT.search(text)
    if said is None or not knows(root, said["hash"]):
        return Shown(name=exhibit.name, commit=None)
    return Shown(
        name=exhibit.name,
        commit=said["hash"],
        with_changes=said["changes"] is not None,
        failed=FAILED in text,
        changed=_changed(root, said["hash"], exhibit.covers),
    )


def _changed(root: Path, commit: str, covers: tuple[str, ...]) -> tuple[str, ...]:
    """Files that differ from the commit. The lock counts only if other packages changed, as a release sets ours."""
    differing = lines(root, "diff", "--name-only", "--no-renames", commit, "HEAD", "--", *covers)
    if LOCK in differing and _locked(root, commit) == _locked(root, "HEAD"):
        return tuple(file for file in differing if file != LOCK)
    return differing


def _locked(root: Path, commit: str) -> list[tuple[str, str]]:
    """Names and versions of all packages but ours."""
    own = tomllib.loads(git(root, "show", f"HEAD:{PROJECT}"))["project"]["name"]
    packages = tomllib.loads(git(root, "show", f"{commit}:{LOCK}"))["package"]
    return sorted((one["name"], one["version"]) for one in packages if one["name"] != own)
