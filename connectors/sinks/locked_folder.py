"""Temporary folders that are locked while in use, so that leftovers of killed processes can be removed."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from connectors.private_files import make_private_folder


@contextmanager
def locked_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A new folder in `parent` (created if missing), removed with its contents at the end.

    Unlocked folders with this prefix belong to dead processes and are removed first. Raises OSError.
    """
    make_private_folder(parent)
    # Without this lock another process could take a new, not yet locked folder for a leftover.
    with _lock(parent, wait=True) as locked_parent:
        for leftover in parent.glob(f"{prefix}*") if locked_parent else ():
            with suppress(OSError), _lock(leftover, wait=False) as abandoned:
                if abandoned:
                    shutil.rmtree(leftover)
        stack = ExitStack()
        temporary = tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True)
        folder = Path(stack.enter_context(temporary))
        stack.enter_context(_lock(folder, wait=False))
    with stack:
        yield folder


@contextmanager
def _lock(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Lock a folder; yields True if it is locked. Some network file systems cannot lock folders: then always False."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = True
        except OSError:
            locked = False
        yield locked
    finally:
        os.close(handle)
