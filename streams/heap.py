"""The heap of a worker's process: bounded while it works, and given back to the system when it rests.

Without glibc, its own settings stay as they are.
"""

import ctypes
from contextlib import suppress
from typing import Final

import pyarrow as pa

_M_ARENA_MAX: Final = -8  # mallopt(3)
_M_MMAP_THRESHOLD: Final = -3
_M_TRIM_THRESHOLD: Final = -1
_MMAP_BYTES: Final = 4 * 1024 * 1024
"""Blocks from this size on go back to the system when freed. By default glibc raises its threshold to 32 MiB, and the
heap keeps the largest size it ever had. With a lower threshold, fresh pages dominate the time of a step."""
_TRIM_BYTES: Final = 64 * 1024 * 1024
"""Free memory kept at the end of a heap."""


def bound() -> None:
    """Keep freed memory from piling up per thread and per size: half of the peak."""
    pa.set_memory_pool(pa.system_memory_pool())
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
        ctypes.CDLL(None).mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)


def release_free() -> None:
    """Give free memory back to the system. Takes milliseconds, in which other threads wait to allocate."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
