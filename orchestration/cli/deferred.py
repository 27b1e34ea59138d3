"""Imports whose modules load at first use: help and lists do not wait for boto3, Arrow or the CDK.

`with deferred(__name__): from package import module` binds a stand-in for the module. It stays a plain import for type
checkers, linters and the contracts of the architecture; Python 3.15 has `lazy from package import module` for it.
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
    """Stands for a module, and loads it when one of its names is looked up."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self._name), attribute)


class _Package:
    """Stands for a package while an import statement takes modules out of it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, module: str) -> _Deferred:
        return _Deferred(f"{self._name}.{module}")


@contextmanager
def deferred(importer: str) -> Iterator[None]:
    """Defer the `from package import module` statements of the block. `importer` is the `__name__` of its module.

    What is imported has to be a module: the names in it are looked up through the stand-in, at each use. Imports that
    other threads carry out meanwhile are left alone.
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
