"""Many files read by one process of its own, which may die of any: what it died of is the outcome of that file."""

import faulthandler
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Final

from connectors.sources.limits import MIB

MEMORY_BYTES: Final = 4096 * MIB
CPU_S: Final = 20
"""Of one file."""
DIED: Final = "died"

Read = Callable[[bytes], str]


def each(read: Read, files: Sequence[bytes]) -> Iterator[str]:
    """`read(file)` of each file, in a process; or `died of SIGSEGV`, and the next one goes on in another process."""
    done = 0
    while done < len(files):
        receive, send = multiprocessing.Pipe(duplex=False)
        pid = os.fork()
        if pid == 0:
            _work(read, files[done:], send)
        send.close()
        while done < len(files):
            try:
                yield receive.recv()
            except EOFError:
                _, status = os.waitpid(pid, 0)
                word = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit {status >> 8}"
                yield f"{DIED} of {word}"
                done += 1
                break
            done += 1
        else:
            os.waitpid(pid, 0)
        receive.close()


def _work(read: Read, files: Sequence[bytes], send: Connection) -> None:
    """In the process: never returns."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    faulthandler.disable()  # of pytest, which would print the traces of the test
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
    except BaseException as exc:  # noqa: BLE001  # told, not raised: this is a copy of the test's process
        send.send(f"raised {exc!r}"[:300])
    finally:
        os._exit(0)
