"""git, in one folder."""

import subprocess
from pathlib import Path


def git(root: Path, *arguments: str) -> str:
    """Output of a command of git. Raises `subprocess.CalledProcessError`, with what git said in `stderr`."""
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.rstrip("\n")


def lines(root: Path, *arguments: str) -> tuple[str, ...]:
    """The lines of that output."""
    return tuple(git(root, *arguments).splitlines())


def knows(root: Path, commit: str) -> bool:
    """Whether there is such a commit."""
    command = ["git", "-C", str(root), "cat-file", "-e", f"{commit}^{{commit}}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
