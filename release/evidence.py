"""Checks whether the evidence in docs/evidence.md is up to date with the code that it covers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from release.git import knows, lines
from release.versions import ASSIGNMENT, VERSIONED
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
    """Files that differ from the commit. The version does not count, as a release sets it."""
    differing = lines(root, "diff", "--name-only", "--no-renames", commit, "HEAD", "--", *covers)
    return tuple(file for file in differing if file != VERSIONED or not _only_the_version(root, commit))


def _only_the_version(root: Path, commit: str) -> bool:
    changed = lines(root, "diff", "--unified=0", commit, "HEAD", "--", VERSIONED)
    return all(line[1:].startswith(ASSIGNMENT) for line in changed[4:] if not line.startswith("@@"))
