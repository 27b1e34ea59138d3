"""Puts a bug into the product for the length of a block, by replacing functions; the product needs no hooks for it."""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.trees import PACKAGES


class Patches:
    """The replacements, with the originals. Names are `package.module:function` or `package.module:Class.method`."""

    def __init__(self) -> None:
        self.replaced: list[tuple[Any, str, Any]] = []

    def replace(self, name: str, make: Callable[[Any], Any]) -> None:
        """Replace an object by `make(original)`, also where other modules have imported it by name."""
        module_name, _, path = name.partition(":")
        owner: Any = importlib.import_module(module_name)
        *classes, attribute = path.split(".")
        for each in classes:
            owner = getattr(owner, each)
        original = vars(owner)[attribute]
        made = make(original)
        self._put(owner, attribute, original, made)
        if classes:
            return
        for other in list(sys.modules.values()):
            if getattr(other, "__name__", "").partition(".")[0] in {*PACKAGES, "tests"}:
                for known in [key for key, value in vars(other).items() if value is original]:
                    self._put(other, known, original, made)

    def undo(self) -> None:
        """Restore the product."""
        for owner, attribute, original in reversed(self.replaced):
            setattr(owner, attribute, original)

    def _put(self, owner: Any, attribute: str, original: Any, made: Any) -> None:
        self.replaced.append((owner, attribute, original))
        setattr(owner, attribute, made)


@contextmanager
def installed(bug: Callable[[Patches], None]) -> Iterator[None]:
    """The product with a bug."""
    patches = Patches()
    try:
        bug(patches)
        yield
    finally:
        patches.undo()
