"""Reasons to refuse a release: all of them at once, each with a remedy."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from release.evidence import PAGE, Shown
from release.versions import Version

MAIN: Final = "main"
NAMED: Final = 3
"""Number of files that a reason names; the rest are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The state that a release would start from.

    `asked`: the version as typed; `uncommitted`: lines of `git status --porcelain`; `entries`: the unreleased section
    of the changelog.
    """

    asked: str
    current: Version
    branch: str
    uncommitted: Sequence[str]
    tags: Sequence[str]
    entries: str
    evidence: Sequence[Shown]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One reason. `fatal`: the steps cannot be taken, so even a dry run ends here."""

    why: str
    remedy: str
    fatal: bool = False


def refusals(state: State) -> tuple[Refusal, ...]:
    """All reasons. Empty if the release may be made."""
    return (*_of_version(state), *_of_tree(state), *_of_evidence(state.evidence))


def _of_version(state: State) -> Iterator[Refusal]:
    version = Version.parse(state.asked)
    if version is None:
        yield Refusal(
            why=f"{state.asked!r} is not a version", remedy="give three numbers: make release VERSION=1.2.3", fatal=True
        )
        return
    if version.tag in state.tags:
        yield Refusal(
            why=f"the tag {version.tag} exists", remedy="choose a version that is not released yet", fatal=True
        )
    if version <= state.current:
        yield Refusal(
            why=f"{version} is not newer than {state.current}",
            remedy=f"choose a version above {state.current}",
            fatal=True,
        )


def _of_tree(state: State) -> Iterator[Refusal]:
    if state.branch != MAIN:
        where = f"on the branch {state.branch}" if state.branch else "on no branch"
        yield Refusal(why=f"this is {where}", remedy=f"merge it, then git switch {MAIN}")
    if state.uncommitted:
        yield Refusal(
            why=f"the working tree has changes: {_some([line[3:] for line in state.uncommitted])}",
            remedy="commit, stash or remove them",
        )
    if not state.entries:
        yield Refusal(
            why="the section Unreleased of CHANGELOG.md has no entry",
            remedy="describe there what changes for users",
            fatal=True,
        )


def _of_evidence(evidence: Sequence[Shown]) -> Iterator[Refusal]:
    for shown in evidence:
        if why := _outdated(shown):
            yield Refusal(why=f"{shown.name}: {why}", remedy=f"make prove EXHIBIT={shown.name}, then commit {PAGE}")


def _outdated(shown: Shown) -> str:
    """Why the evidence of an exhibit does not count. Empty if it is up to date with what it covers."""
    if shown.commit is None:
        return f"{PAGE} has no evidence for a commit that git knows"
    if shown.failed:
        return f"some checks failed at {shown.commit}"
    if shown.with_changes:
        return f"it ran on {shown.commit} with uncommitted changes"
    if shown.changed:
        return f"files that it covers have changed since {shown.commit}: {_some(shown.changed)}"
    return ""


def _some(files: Sequence[str]) -> str:
    named = ", ".join(files[:NAMED])
    return named if len(files) <= NAMED else f"{named} and {len(files) - NAMED:,} more"
