"""`make release VERSION=x.y.z [DRY_RUN=1]`, or `python -m release x.y.z [--dry-run]`.

The exit code is 1 if the release is refused or a step fails. A dry run takes all steps in a temporary clone.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from release import changelog, evidence, steps
from release.git import git, lines
from release.refusals import MAIN, State, refusals
from release.versions import Version, project_version
from tests.prove.registry import EXHIBITS

ROOT = Path(__file__).parents[1]


def main(arguments: list[str]) -> int:
    """Release the working tree, or print why not."""
    parser = argparse.ArgumentParser(prog="python -m release", description=__doc__)
    parser.add_argument("version", help="x.y.z")
    parser.add_argument("--dry-run", action="store_true", help="take all steps in a temporary clone, and show them")
    given = parser.parse_args(arguments)
    found = refusals(state(ROOT, given.version))
    if found:
        print(f"{'Would be refused' if given.dry_run else 'Refused'}, for {len(found)} reason(s):")
        for refusal in found:
            print(f"- {refusal.why}\n  -> {refusal.remedy}")
    version = Version.parse(given.version)
    if version is None or any(refusal.fatal for refusal in found) or (found and not given.dry_run):
        return 1
    try:
        if given.dry_run:
            with clone(ROOT) as copy:
                make(copy, version)
                show(copy)
        else:
            make(ROOT, version)
            print(f"Nothing is pushed yet: git push origin {MAIN} {version.tag}")
    except (steps.StepError, ValueError, OSError, subprocess.CalledProcessError) as exc:
        print(f"Failed, nothing is tagged: {exc}\n{getattr(exc, 'stderr', None) or ''}".rstrip(), file=sys.stderr)
        return 1
    return 1 if found else 0


def state(root: Path, asked: str) -> State:
    """The state that a release of the working tree would start from."""
    log = root / changelog.FILE
    return State(
        asked=asked,
        current=project_version(root),
        branch=git(root, "branch", "--show-current"),
        uncommitted=lines(root, "status", "--porcelain"),
        tags=lines(root, "tag", "--list"),
        entries=changelog.unreleased(log.read_text(encoding="utf-8")) if log.exists() else "",
        evidence=evidence.shown(root, EXHIBITS),
    )


def make(root: Path, version: Version) -> None:
    """Take the steps, printing what each has done."""
    steps.release(root, version, datetime.now(UTC).date(), lambda text: print(f"* {text}", flush=True))


def show(root: Path) -> None:
    """Print what the commit of a dry run changes."""
    print(git(root, "show", "--stat", "--format=", "HEAD"))
    print(git(root, "show", "--format=", "--unified=1", "HEAD"))


@contextmanager
def clone(root: Path) -> Iterator[Path]:
    """Clone the committed tree into a temporary folder, with the same author."""
    with tempfile.TemporaryDirectory(prefix="muster-release-", ignore_cleanup_errors=True) as folder:
        copy = Path(folder) / "muster"
        git(Path(folder), "clone", "--quiet", "--shared", str(root), str(copy))
        for name in ("user.name", "user.email"):
            git(copy, "config", name, git(root, "config", name))
        yield copy


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
