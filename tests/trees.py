"""What was tested, by its git hash."""

import hashlib
import subprocess
import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PACKAGES: Final = ("connectors", "muster", "orchestration", "schemas", "segmentation", "streams")
CLIENT, SERVER = (
    tomllib.loads((ROOT / folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for folder in ("muster", "")
)
"""The two distributions. Only the client's has the package `muster`."""
PRODUCT: Final = (*PACKAGES, "pyproject.toml", "uv.lock")


def _git(*arguments: str) -> str:
    """Output of git. Empty if it fails."""
    command = ["git", "-C", str(ROOT), "-c", "user.name=tests", "-c", "user.email=tests@localhost", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def committed_tree() -> str:
    """The hash of the committed tree, 40 digits, regardless of uncommitted changes."""
    return _git("rev-parse", "HEAD^{tree}")


def working_tree() -> str:
    """The hash of the tracked files in their current state, 12 digits."""
    return _git("rev-parse", "--short=12", f"{_with_changes()}^{{tree}}") or "unknown"


def tested_code() -> str:
    """A hash of the product and its tests in their current state, 12 digits, regardless of documentation."""
    trees = _git("rev-parse", *(f"{_with_changes()}:{name}" for name in (*PRODUCT, "tests")))
    return hashlib.sha256(trees.encode()).hexdigest()[:12]


def commits_since(commit: str) -> int | None:
    """The number of commits that have changed the product since. None if git does not know the commit."""
    count = _git("rev-list", "--count", f"{commit}..HEAD", "--", *PRODUCT)
    return int(count) if count else None


def _with_changes() -> str:
    return _git("stash", "create") or "HEAD"
