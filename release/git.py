"""Runs git in one folder."""

import subprocess
from pathlib import Path


def git(root: Path, *arguments: str) -> str:
    """Output of a git command. Raises `subprocess.CalledProcessError`, with git's error output in `stderr`."""
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.rstrip("\n")


def lines(root: Path, *arguments: str) -> tuple[str, ...]:
    """Output of a git command, as lines."""
    return tuple(git(root, *arguments).splitlines())


def knows(root: Path, commit: str) -> bool:
    """True if git knows this commit."""
    command = ["git", "-C", str(root), "cat-file", "-e", f"{commit}^{{commit}}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
