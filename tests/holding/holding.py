"""Holds processes at a named point, so that a test meets a situation for certain and not by lucky timing.

`with hold(home, "importer") as importer:` asks the next process that reaches the point to stop there. `importer()`
waits until one has stopped; the test may kill it then. If it still lives at the end, it is resumed.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil

from tests.holding.points import POINTS, order

TIMEOUT_S: Final = 120.0
POLL_S: Final = 0.02


@contextmanager
def hold(home: Path, point: str) -> Iterator[Callable[[], psutil.Process]]:
    """Hold one process. Raises `AssertionError` if no process reaches the point."""
    file = order(home, point)
    assert point in POINTS
    file.parent.mkdir(exist_ok=True)
    file.touch()
    held: list[psutil.Process] = []

    def wait() -> psutil.Process:
        if not held:
            held.append(_stopped(file))
        return held[0]

    try:
        yield wait
    finally:
        file.unlink(missing_ok=True)
        for process in held or _taken(file):
            with suppress(psutil.NoSuchProcess):
                process.resume()
        for taken in file.parent.glob(f"{file.name}.*"):
            taken.unlink()


def _taken(file: Path) -> list[psutil.Process]:
    found = []
    for taken in file.parent.glob(f"{file.name}.*"):
        with suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(int(taken.suffix[1:])))
    return found


def _stopped(file: Path) -> psutil.Process:
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        for process in _taken(file):
            if process.status() == psutil.STATUS_STOPPED:
                return process
        assert time.monotonic() < deadline, f"no process has come to the point {file.name!r}"
        time.sleep(POLL_S)
