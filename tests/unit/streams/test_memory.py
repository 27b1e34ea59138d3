"""Memory of an idle worker process."""

import ctypes
import resource
from pathlib import Path

import psutil
from llvmlite import binding

from streams.memory import release_compiler, release_free

BLOCKS = 2_000
BLOCK_BYTES = 64 * 1024
"""Below every threshold from which glibc gives single blocks back."""


def test_freed_blocks_below_a_used_block_are_returned() -> None:
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


def test_compiler_pages_are_released_and_reload() -> None:
    module = "define i32 @one() { ret i32 1 }"
    binding.parse_assembly(module).verify()
    before = _of_compiler()
    release_compiler()
    assert _of_compiler() < before / 20
    binding.parse_assembly(module).verify()
    assert _of_compiler() > 0


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def _of_compiler() -> int:
    """Bytes of pages that can be read from its file again."""
    maps = psutil.Process().memory_maps(grouped=False)
    return sum(m.rss - m.private_dirty for m in maps if "libllvmlite" in m.path)
