"""Many files read by one process of its own, which may die of any: what it died of is the outcome of that file."""

import os
import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Final, TypeVar

from connectors.sources.limits import MIB

MEMORY_BYTES: Final = 4096 * MIB
CPU_S: Final = 20
"""Of one file."""
DIED: Final = "died"

T = TypeVar("T")
_processes = get_context("spawn")  # a copy of this process would have locks that threads of ours held, for ever


def each(read: Callable[[T], str], files: Sequence[T]) -> Iterator[str]:
    """`read(file)` of each file, in a process; or `died of SIGSEGV`, and the next one goes on in another process.

    `read` is a function of a module, or a partial of one.
    """
    done = 0
    while done < len(files):
        receive, send = _processes.Pipe(duplex=False)
        process = _processes.Process(target=_work, args=(read, files[done:], send), daemon=True)
        process.start()
        send.close()
        while done < len(files):
            try:
                yield receive.recv()
            except EOFError:
                process.join()
                code = process.exitcode or 0
                yield f"{DIED} of {signal.Signals(-code).name if code < 0 else f'exit {code}'}"
                done += 1
                break
            done += 1
        else:
            process.join()
        receive.close()


def _work(read: Callable[[T], str], files: Sequence[T], send: Connection) -> None:
    """In the process: never returns."""
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
            send.send(verdict)
    except BaseException as exc:  # noqa: BLE001  # told, not raised
        send.send(f"raised {exc!r}"[:300])
    finally:
        os._exit(0)
