"""What a worker's heap keeps when it rests."""

import ctypes
import resource
from pathlib import Path

from streams.heap import release_free

BLOCKS = 2_000
BLOCK_BYTES = 64 * 1024
"""Below every threshold from which glibc gives single blocks back."""


def test_freed_blocks_below_a_used_one_go_back_to_the_system() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    blocks = [libc.malloc(BLOCK_BYTES) for _ in range(BLOCKS)]
    for block in blocks:
        ctypes.memset(block, 1, BLOCK_BYTES)
    for block in blocks[:-1]:  # the last one keeps the heap from shrinking by itself
        libc.free(block)
    before = _resident_bytes()
    release_free()
    assert before - _resident_bytes() > BLOCKS * BLOCK_BYTES * 3 // 4
    libc.free(blocks[-1])


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
