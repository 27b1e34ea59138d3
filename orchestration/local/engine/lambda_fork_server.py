"""The process that functions are forked from: `python -m orchestration.local.engine.lambda_fork_server FD MODULE`.

`MODULE.warm()` imports what functions need; no function runs here. Each process of the pool is a fork of it, and a
sandbox like `lambda_worker`: a fork takes milliseconds instead of seconds, and shares the pages of the imports.

It ends rather than fork with more than one thread; processes are then started instead (`lambda_processes`).
"""

import importlib
import os
import socket
import sys

from connectors.fork_server.server import ChildBehaviour, main
from orchestration.local.engine.lambda_worker import serve


class ThreadsError(Exception):
    """The imports have started threads, which a fork would lack."""


def load() -> ChildBehaviour:
    """Have the module in the second argument import what functions need."""
    importlib.import_module(sys.argv[2]).warm()
    if (threads := len(os.listdir("/proc/self/task"))) > 1:  # noqa: PTH208  # numbers, not paths
        raise ThreadsError(f"{sys.argv[2]}.warm() leaves {threads} threads running: a fork would have only one of them")
    return ChildBehaviour(run=_run, lead_groups=True)


def _run(control_fd: int) -> int:
    try:
        serve(socket.socket(fileno=control_fd))
    except SystemExit as exc:  # a handler may end its process
        return exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    finally:
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    main(load)
