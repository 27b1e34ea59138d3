"""Compiles kernels, once per machine.

numba keeps compiled code on disk until the file of a kernel changes. But a kernel contains those that it calls, which
may be in other files: here it is compiled again when any kernel of this package has changed.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from numba import njit


def _digest() -> str:
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


_SOURCES: Final = _digest()


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function without Python objects, which releases the GIL, at its first call."""
    compiled: Any = njit(cache=True, nogil=True)(function)
    index = compiled._cache._cache_file  # noqa: SLF001  # numba has no other way
    index._source_stamp = (index._source_stamp, _SOURCES)  # noqa: SLF001
    return compiled
