"""What children that work on untrusted input have in common: their environment and their end."""

import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import IO, Final

PR_SET_PDEATHSIG: Final = 1
SYS_PIDFD_SEND_SIGNAL: Final = 424
SYS_PIDFD_OPEN: Final = 434
"""The numbers are the same on every processor. Not every build of Python has functions for these two."""
C_LIBRARY: Final = ctypes.CDLL(None, use_errno=True)
STDERR_SHOWN_BYTES: Final = 2000
PACKAGE_ROOT: Final = Path(__file__).parents[1]
PASSED_VARIABLES: Final = (
    "HOME",
    "LD_LIBRARY_PATH",
    "NUMBA_CACHE_DIR",
    "NUMBA_CPU_FEATURES",  # this and the next are in the key of the cache
    "NUMBA_CPU_NAME",
    "PATH",
    "TMPDIR",
    "TZDIR",
)
ONE_THREAD: Final = {
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # Arrow starts one although nothing is allocated from jemalloc
    "OPENBLAS_NUM_THREADS": "1",
}
"""Keeps libraries from starting threads at import, for processes that are confined or forked afterwards."""


def child_environment() -> dict[str, str]:
    """The variables that locate programs and files, without any credentials."""
    passed = {name: os.environ[name] for name in PASSED_VARIABLES if name in os.environ}
    return passed | {"LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "2", "PYTHONPATH": str(PACKAGE_ROOT)}


def die_with_parent(parent_pid: int) -> None:
    """Die with the parent (the thread that started this process), and leave keyboard interrupts to it."""
    if C_LIBRARY.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent_pid:
        sys.exit("the parent is gone")
    # An interrupt goes to the whole group; the parent handles it by killing the child.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def stderr_tail(stderr: IO[bytes]) -> bytes:
    """The end of the file to which a child wrote its standard error."""
    stderr.seek(max(0, stderr.seek(0, os.SEEK_END) - STDERR_SHOWN_BYTES))
    return stderr.read()


def open_process(pid: int) -> int:
    """A descriptor of a process, readable once it has ended. Raises OSError (ENOSYS before Linux 5.3)."""
    return _system_call(SYS_PIDFD_OPEN, pid, 0)


def kill_process(descriptor: int) -> None:
    """SIGKILL a process by its descriptor, so that no other can be hit. Raises `ProcessLookupError` if it is reaped."""
    _system_call(SYS_PIDFD_SEND_SIGNAL, descriptor, signal.SIGKILL, None, 0)


def _system_call(number: int, *arguments: int | None) -> int:
    result: int = C_LIBRARY.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
