"""What children that work on untrusted input have in common: what they get of the environment, and their end."""

import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import Final

PR_SET_PDEATHSIG: Final = 1
PACKAGE_ROOT: Final = Path(__file__).parents[1]
PASSED: Final = ("HOME", "LD_LIBRARY_PATH", "NUMBA_CACHE_DIR", "PATH", "TMPDIR", "TZDIR")


def child_environment() -> dict[str, str]:
    """What finds programs and files, and nothing that is a credential."""
    passed = {name: os.environ[name] for name in PASSED if name in os.environ}
    return passed | {"LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "2", "PYTHONPATH": str(PACKAGE_ROOT)}


def die_with(parent_pid: int) -> None:
    """End with the parent (the thread that started this process), and leave the keyboard's interrupt to it."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent_pid:
        sys.exit("the parent is gone")
    # An interrupt goes to the whole group; it is the parent that answers it, by ending the child.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
