"""Processes of a running stack, found by what they run."""

from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from orchestration.local import processes
from orchestration.platform.settings import Settings


def part(settings: Settings, module: str) -> psutil.Process:
    """The one process of the stack with this in its command line."""
    (found,) = (p for p in processes.marked(settings.home) if module in p.cmdline())
    return found


@contextmanager
def stopped(process: psutil.Process) -> Iterator[None]:
    """It does not run, as the others do not run while their topic is filled."""
    process.suspend()
    try:
        yield
    finally:
        process.resume()
