"""Stops a process of a stack at a point, from inside, when asked to."""

import functools
import os
import signal
from pathlib import Path
from typing import Any

from tests.holding.patching import when_imported
from tests.holding.points import POINTS, order


def install(home: Path) -> None:
    """Install the points as their modules are imported."""
    for which, point in POINTS.items():
        when_imported(point.module, functools.partial(_put_in, home, which))


def _put_in(home: Path, which: str, module: Any) -> None:
    point = POINTS[which]
    *owners, name = point.call.split(".")
    owner = functools.reduce(getattr, owners, module)
    call, file = getattr(owner, name), order(home, which)

    @functools.wraps(call)
    def called(*args: Any, **options: Any) -> Any:
        if point.when == "before":
            _stop(file)
        answer = call(*args, **options)
        if point.when == "after":
            _stop(file)
        return answer

    setattr(owner, name, called)


def _stop(file: Path) -> None:
    try:
        file.rename(file.with_suffix(f".{os.getpid()}"))
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGSTOP)
