"""Finds processes of a running stack by their command lines, and suspends them."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psutil

from orchestration.local import processes
from orchestration.platform.settings import Settings

SESSION_S: Final = 120
"""A suspended worker keeps its partitions for this long."""


def long_sessions() -> dict[str, str]:
    """The environment of a stack whose workers are going to be suspended."""
    return {**os.environ, "MUSTER_WORKER_SESSION_TIMEOUT_S": str(SESSION_S)}


def part(settings: Settings, module: str) -> psutil.Process:
    """The one process of the stack with `module` in its command line."""
    (found,) = (p for p in processes.marked(settings.home) if module in p.cmdline())
    return found


@contextmanager
def stopped(process: psutil.Process) -> Iterator[None]:
    """Suspend the process, so that it starts like the others: with a full topic.

    Raises `RuntimeError` if a worker has lost its partitions meanwhile, as its recovery would be measured.
    """
    began = time.monotonic()
    process.suspend()
    try:
        yield
    finally:
        process.resume()
    if (rested_s := time.monotonic() - began) >= SESSION_S:
        raise RuntimeError(f"the worker was suspended for {rested_s:.0f} s, but its session lasts {SESSION_S} s")
