"""Processes of this one, by what they run; what other tests have started runs, or lies unreaped, beside them."""

import threading
import time
from collections.abc import Sequence

import psutil

PARENT = "parser-parent"
"""The thread that starts a parser and reaps it."""


def running(module: str) -> list[psutil.Process]:
    """Those that were started with `python -m module` and live."""
    return [process for process in psutil.Process().children() if module in _command(process)]


def parsers() -> list[psutil.Process]:
    """Those that parse."""
    return running("connectors.sources.child")


def unreaped() -> list[str]:
    """The threads whose parser has not been waited for; a list to compare."""
    return [thread.name for thread in threading.enumerate() if thread.name == PARENT]


def _command(process: psutil.Process) -> Sequence[str]:
    """Of one that has ended, nothing. While a new one is being loaded its command is empty for a moment."""
    try:
        while not (command := process.cmdline()):
            time.sleep(0.001)
    except psutil.NoSuchProcess:  # a zombie too
        return ()
    return command
