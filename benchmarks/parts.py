"""Finds processes of a running stack by their command lines."""

from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from orchestration.local import processes
from orchestration.platform.settings import Settings


def part(settings: Settings, module: str) -> psutil.Process:
    """The one process of the stack with `module` in its command line."""
    (found,) = (p for p in processes.marked(settings.home) if module in p.cmdline())
    return found


@contextmanager
def stopped(process: psutil.Process) -> Iterator[None]:
    """Suspend the process, so that it starts like the others: with a full topic."""
    process.suspend()
    try:
        yield
    finally:
        process.resume()
