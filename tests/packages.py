"""The modules of a package, for tests that go through all of them."""

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType


def modules_of(package: ModuleType) -> Iterator[ModuleType]:
    """The modules directly below a package."""
    for one in iter_modules(package.__path__):
        yield import_module(f"{package.__name__}.{one.name}")
