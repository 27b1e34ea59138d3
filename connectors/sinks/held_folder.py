"""Temporary folders that are locked while they are in use, so that those of processes that were killed can go."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from connectors.private_files import make_private_folder


@contextmanager
def held_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A new folder in `parent`, which is made, and removed at the end with what is in it.

    Others there with this prefix that nobody holds are of the dead, and removed first. Raises OSError.
    """
    make_private_folder(parent)
    with _lock(parent, wait=True) as alone:  # or a folder that is new would be taken for a dead one's
        for left in parent.glob(f"{prefix}*") if alone else ():
            with suppress(OSError), _lock(left, wait=False) as dead:
                if dead:
                    shutil.rmtree(left)
        held = ExitStack()
        made = tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True)
        folder = Path(held.enter_context(made))
        held.enter_context(_lock(folder, wait=False))
    with held:
        yield folder


@contextmanager
def _lock(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the lock of a folder; whether we have it. Some network file systems lock no folders: then nobody has it."""
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
