"""In a process of a stack: it stops itself at a point, where it is asked to."""

import functools
import os
import signal
import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from tests.holding.points import POINTS, order


def install(home: Path) -> None:
    """Put the points in as their modules are imported."""
    sys.meta_path.insert(0, Finder(home))


class Finder:
    """Finds the modules with a point as Python would, and puts the point in when they have been run."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._modules = {point.module for point in POINTS.values()}

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """None for all other modules."""
        del target
        if name not in self._modules or (spec := PathFinder.find_spec(name, path)) is None:
            return None
        loader: Any = spec.loader
        run = loader.exec_module

        def run_and_put_in(module: Any) -> None:
            run(module)
            for which, point in POINTS.items():
                if point.module == module.__name__:
                    *owners, call = point.call.split(".")
                    owner = functools.reduce(getattr, owners, module)
                    setattr(owner, call, self._stopping(getattr(owner, call), which, point.when))

        loader.exec_module = run_and_put_in
        return spec

    def _stopping(self, call: Any, point: str, when: str) -> Any:
        @functools.wraps(call)
        def called(*args: Any, **options: Any) -> Any:
            if when == "before":
                self._stop(point)
            answer = call(*args, **options)
            if when == "after":
                self._stop(point)
            return answer

        return called

    def _stop(self, point: str) -> None:
        file = order(self._home, point)
        try:
            file.rename(file.with_suffix(f".{os.getpid()}"))
        except FileNotFoundError:
            return
        os.kill(os.getpid(), signal.SIGSTOP)
