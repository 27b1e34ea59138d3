"""Reads many files in one separate process. If a file kills it, that death is the outcome of the file."""

import os
import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Final, TypeVar

from benchmarks.measure import KIB, peak_kib
from connectors.sources.limits import ParseLimits

MEMORY_BYTES: Final = ParseLimits().memory_bytes
CPU_S: Final = 20
"""CPU time per file."""
DIED: Final = "died"
RAISED: Final = "raised"

T = TypeVar("T")
_processes = get_context("spawn")  # a forked copy would inherit locks held by our threads, and wait for them forever


def each(read: Callable[[T], str], files: Sequence[T], peaks: list[int] | None = None) -> Iterator[str]:
    """`read(file)` of each file in a process: its result, `raised ...`, or `died of SIGSEGV`.

    After a death a new process continues. `read` is a module-level function, or a partial of one. `peaks` gets the peak
    memory of the process in bytes after each file that it survives.
    """
    done = 0
    while done < len(files):
        receive, send = _processes.Pipe(duplex=False)
        process = _processes.Process(target=_work, args=(read, files[done:], send), daemon=True)
        process.start()
        send.close()
        while done < len(files):
            try:
                verdict, peak = receive.recv()
            except EOFError:
                process.join()
                code = process.exitcode or 0
                yield f"{DIED} of {signal.Signals(-code).name if code < 0 else f'exit {code}'}"
                done += 1
                break
            if peaks is not None:
                peaks.append(peak)
            yield verdict
            done += 1
        else:
            process.join()
        receive.close()


def _work(read: Callable[[T], str], files: Sequence[T], send: Connection) -> None:
    """Runs in the process; never returns."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        for file in files:
            used = resource.getrusage(resource.RUSAGE_SELF)
            most = int(used.ru_utime + used.ru_stime) + CPU_S
            resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))
            try:
                verdict = read(file)
            except MemoryError:
                verdict = "PARSER_MEMORY"
            except Exception as exc:  # noqa: BLE001  # reported, not raised
                verdict = f"{RAISED} {exc!r}"[:300]
            send.send((verdict, peak_kib(os.getpid()) * KIB))
    finally:
        os._exit(0)
