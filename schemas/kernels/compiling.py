"""Compiles kernels, once per machine.

numba keeps compiled code on disk until the file of a kernel changes. But a kernel contains those that it calls, which
may be in other files: here it is compiled again when any kernel of this package has changed.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from numba import njit
from numba.core.caching import FunctionCache
from numba.core.runtime.nrt import rtsys


def _digest() -> str:
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


_SOURCES: Final = _digest()


class _KernelCache(FunctionCache):
    """Loads compiled code without the declarations that only compiling needs: 0.7 s and 38 MiB of each process.

    numba loads them before it looks into its cache, and again when it compiles.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        index: Any = self._cache_file
        index._source_stamp = (index._source_stamp, _SOURCES)  # noqa: SLF001

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        rtsys.initialize(target_context)  # as the declarations would
        with self._guard_against_spurious_io_errors():
            return self._load_overload(signature, target_context)  # type: ignore[no-untyped-call]


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function without Python objects, which releases the GIL, at its first call."""
    compiled: Any = njit(cache=True, nogil=True)(function)
    compiled._cache = _KernelCache(function)  # noqa: SLF001  # numba has no other way
    return compiled
