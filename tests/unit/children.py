"""Children of this process, by what they run; children of other tests may run, or be zombies, beside them."""

import time
from collections.abc import Sequence
from contextlib import suppress

import psutil

from connectors.sources.fork_server import PARSERS


def running(module: str) -> list[psutil.Process]:
    """Live children started with `python -m module`."""
    return [process for process in psutil.Process().children() if module in _command(process)]


def fork_servers() -> list[psutil.Process]:
    """Processes that fork parsers."""
    return running("connectors.sources.parser_server")


def parsers() -> list[psutil.Process]:
    """Parsers, including ended ones that were not waited for."""
    found = []
    for server in fork_servers():
        with suppress(psutil.NoSuchProcess):
            found += server.children()
    return found


def queries() -> list[psutil.Process]:
    """Children that run a query."""
    return [child for server in running("connectors.lake.sql_server") for child in server.children()]


def parser_memory(growth_bytes: int) -> int:
    """Memory limit that lets a parser grow by so many bytes beyond what is loaded before it gets its file."""
    PARSERS.prepare()
    PARSERS.await_ready()
    (server,) = fork_servers()
    return int(server.memory_info().vms) + growth_bytes


def _command(process: psutil.Process) -> Sequence[str]:
    """Command line; empty if the process has ended. While a new program is loading, it is empty for a moment."""
    try:
        while not (command := process.cmdline()):
            time.sleep(0.001)
    except psutil.NoSuchProcess:  # a zombie too
        return ()
    return command
