"""The memory of a worker's process: bounded while it works, and given back to the system when it rests.

Without glibc, its own settings stay as they are.
"""

import ctypes
import mmap
from contextlib import suppress
from functools import cache
from typing import Final

import psutil
import pyarrow as pa

_M_ARENA_MAX: Final = -8  # mallopt(3)
_M_MMAP_THRESHOLD: Final = -3
_M_TRIM_THRESHOLD: Final = -1
_MMAP_BYTES: Final = 4 * 1024 * 1024
"""Blocks from this size on go back to the system when freed. By default glibc raises its threshold to 32 MiB, and the
heap keeps the largest size it ever had. With a lower threshold, fresh pages dominate the time of a step."""
_TRIM_BYTES: Final = 64 * 1024 * 1024
"""Free memory kept at the end of a heap."""
_COMPILER: Final = "libllvmlite"
"""The library that loads compiled kernels: 68 MiB are resident after that, and rarely needed again."""


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


def release_compiler() -> None:
    """Give the pages of the library back that has loaded the kernels. They come again from its file if needed."""
    with suppress(OSError, AttributeError):
        for start, size in _unwritten_pages(_COMPILER):
            ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), mmap.MADV_DONTNEED)


@cache
def _unwritten_pages(library: str) -> tuple[tuple[int, int], ...]:
    """Address and bytes of the mappings of a loaded library that equal its file: read-only, and not relocated."""
    found = []
    for mapping in psutil.Process().memory_maps(grouped=False):
        if library in mapping.path and "w" not in mapping.perms and not mapping.private_dirty:
            start, end = (int(address, 16) for address in mapping.addr.split("-"))
            found.append((start, end - start))
    return tuple(found)
