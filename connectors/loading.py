"""Loads modules faster: without pandas, and without looking for garbage among them."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class _Hidden:
    def find_spec(self, name: str, _path: object, _target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)


def hide_pandas() -> None:
    """Let each later import of pandas in this process fail, as if it were not installed.

    pyarrow imports it if installed, to check the type of a list. That costs 0.15 s and 28 MiB for nothing, as no
    process of ours uses it.
    """
    sys.meta_path.insert(0, _Hidden())


@contextmanager
def loading() -> Iterator[None]:
    """Import in this block: loaded modules are not garbage, yet a quarter of the time goes into looking for some.

    They are never looked through again, so that forks of this process share their pages.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
