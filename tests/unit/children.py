"""Processes of this one, by what they run; what other tests have started runs, or lies unreaped, beside them."""

import time
from collections.abc import Sequence
from contextlib import suppress

import psutil

from connectors.sources.fork_server import PARSERS


def running(module: str) -> list[psutil.Process]:
    """Those that were started with `python -m module` and live."""
    return [process for process in psutil.Process().children() if module in _command(process)]


def fork_servers() -> list[psutil.Process]:
    """Those that parsers are forked from."""
    return running("connectors.sources.parser_server")


def parsers() -> list[psutil.Process]:
    """Those that parse, or have and were not waited for."""
    found = []
    for server in fork_servers():
        with suppress(psutil.NoSuchProcess):
            found += server.children()
    return found


def parser_memory(growth_bytes: int) -> int:
    """The limit under which a parser may take so much in addition to what is loaded before it has its file."""
    PARSERS.prepare()
    PARSERS.await_ready()
    (server,) = fork_servers()
    return int(server.memory_info().vms) + growth_bytes


def _command(process: psutil.Process) -> Sequence[str]:
    """Of one that has ended, nothing. While a new one is being loaded its command is empty for a moment."""
    try:
        while not (command := process.cmdline()):
            time.sleep(0.001)
    except psutil.NoSuchProcess:  # a zombie too
        return ()
    return command
