"""Actual memory of a sandbox: what the kernel of Lambda's machine would count against its limit.

RLIMIT_AS would not do: numba, Arrow and DuckDB reserve address space that they never touch. Counted is memory that the
kernel cannot reclaim on its own, anonymous and shared, of a process and all its descendants; pages of mapped files (the
libraries) are not. It is read a few times a second, so a process may exceed its limit for that long.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil

COUNTED: Final = ("RssAnon:", "RssShmem:", "VmSwap:")


def used_bytes(pid: int) -> int:
    """Memory of a process and its descendants; 0 if it has ended."""
    return sum(_process_bytes(process) for process in descendants(pid))


def descendants(pid: int) -> Iterator[int]:
    """A process and its descendants, at any depth. Those that end meanwhile are left out."""
    yield pid
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                for child in (thread / "children").read_text(encoding="ascii").split():
                    yield from descendants(int(child))


def _process_bytes(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except FileNotFoundError:
        return _resident_bytes(pid)
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(COUNTED))


def _resident_bytes(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
