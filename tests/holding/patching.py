"""Patches modules of the product in a process of a test's stack, right after they have been executed."""

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

PutIn = Callable[[Any], None]
"""Changes a module."""


def when_imported(module: str, put_in: PutIn) -> None:
    """Change a module as soon as it has been executed."""
    finder = next((finder for finder in sys.meta_path if isinstance(finder, Finder)), None)
    if finder is None:
        finder = Finder()
        sys.meta_path.insert(0, finder)
    finder.put_ins.setdefault(module, []).append(put_in)


class Finder:
    """Finds modules as Python would."""

    def __init__(self) -> None:
        self.put_ins: dict[str, list[PutIn]] = {}

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """None for all modules that are not patched."""
        del target
        if name not in self.put_ins or (spec := PathFinder.find_spec(name, path)) is None:
            return None
        loader: Any = spec.loader
        run = loader.exec_module

        def run_and_put_in(module: Any) -> None:
            run(module)
            for put_in in self.put_ins[name]:
                put_in(module)

        loader.exec_module = run_and_put_in
        return spec
