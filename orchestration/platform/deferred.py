"""Imports whose modules load at first use: help does not wait for Arrow, a function not for stages of others.

`with deferred(__name__): from package import module` binds a stand-in for the module. Type checkers, linters and the
architecture contracts still see a plain import; Python 3.15 has `lazy from package import module` for this.
"""

import builtins
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from threading import RLock
from types import ModuleType
from typing import Any, Final

_SWAPPING: Final = RLock()


class _Deferred:
    """Stands in for a module, and loads it when one of its names is looked up."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self._name), attribute)


class _Package:
    """Stands in for a package while an import statement takes modules from it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, module: str) -> _Deferred:
        return _Deferred(f"{self._name}.{module}")


@contextmanager
def deferred(importer: str) -> Iterator[None]:
    """Defer the `from package import module` statements of the block. `importer` is the `__name__` of its module.

    Only modules can be imported like this: names in them are looked up through the stand-in, on each use. Imports by
    other threads in the meantime are unaffected.
    """
    with _SWAPPING:
        load = builtins.__import__

        def stand_in(
            name: str,
            globals: Mapping[str, object] | None = None,  # noqa: A002  # the signature of __import__
            locals: Mapping[str, object] | None = None,  # noqa: A002
            fromlist: Sequence[str] | None = (),
            level: int = 0,
        ) -> ModuleType | _Package:
            if fromlist and globals is not None and globals.get("__name__") == importer:
                return _Package(name)
            return load(name, globals, locals, fromlist or (), level)

        builtins.__import__ = stand_in  # type: ignore[assignment]
        try:
            yield
        finally:
            builtins.__import__ = load
