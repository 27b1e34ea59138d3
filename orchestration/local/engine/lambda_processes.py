"""Processes of functions: forked from one that has imported everything, or started if that is not possible."""

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final, Protocol

from connectors.confinement import ONE_THREAD
from connectors.fork_server.child_process import ChildProcess
from connectors.fork_server.owner import Forks, ForkServerDiedError
from orchestration.local import processes
from orchestration.local.engine import memory

WORKER: Final = "orchestration.local.engine.lambda_worker"
SERVER: Final = "orchestration.local.engine.lambda_fork_server"
ENDING_S: Final = 0.05
"""Grace for a process that is just ending: its own exit code says more than that of a kill."""
EXIT_WAIT_S: Final = 5.0
SERVERS: Final = 2
"""Fork servers to try for one process: if they keep being killed, the process is started instead."""

log = logging.getLogger("muster.engine.lambda")


class FunctionProcess(Protocol):
    """One process that answers calls over `connection`."""

    connection: socket.socket

    @property
    def pid(self) -> int:
        """Its process id."""

    @property
    def alive(self) -> bool:
        """Whether it is still running."""

    def kill(self) -> None:
        """End it at once, with all processes that it has started."""

    def end(self) -> int:
        """Kill it and free its resources. Returns the exit code, negative for a signal; its own if it was ending."""


class StartedProcess:
    """A started process, which imports modules itself on demand."""

    def __init__(self, spawner: processes.Spawner, env: Mapping[str, str], output: Path) -> None:
        self.connection, child_end = socket.socketpair()
        with child_end:
            argv = [sys.executable, "-m", WORKER, str(child_end.fileno())]
            self._process: subprocess.Popen[bytes] = spawner.spawn(
                argv, env=env, output=output, pass_fds=(child_end.fileno(),)
            )

    @property
    def pid(self) -> int:
        """As `FunctionProcess`."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """As `FunctionProcess`."""
        return self._process.poll() is None

    def kill(self) -> None:
        """As `FunctionProcess`."""
        if self.alive:  # else its number may be another process's
            _kill(list(memory.descendants(self._process.pid)))
        processes.signal_group(self._process, signal.SIGKILL)

    def end(self) -> int:
        """As `FunctionProcess`."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(ENDING_S)
        self.kill()
        self.connection.close()
        return self._process.wait(EXIT_WAIT_S)


class ForkedProcess:
    """A fork of the server."""

    def __init__(self, child: ChildProcess) -> None:
        self._child = child
        self.connection = child.control

    @property
    def pid(self) -> int:
        """As `FunctionProcess`."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        """As `FunctionProcess`."""
        return self._child.alive

    def kill(self) -> None:
        """As `FunctionProcess`. The server ends the processes of its group."""
        started = [pid for pid in memory.descendants(self._child.pid) if pid != self._child.pid] if self.alive else []
        self._child.kill()
        _kill(started)

    def end(self) -> int:
        """As `FunctionProcess`."""
        self._child.wait(ENDING_S)
        self.kill()
        self._child.close()
        return self._child.exit_code


class FunctionProcesses:
    """Creates processes of functions, with the imports of the module `warm`. Safe to share between threads.

    A server that was ended from outside is replaced. One that fails to load ends on its own and would do so again: from
    then on processes are started. Both are logged.
    """

    def __init__(self, spawner: processes.Spawner, *, env: Mapping[str, str], output: Path, warm: str) -> None:
        self._spawner = spawner
        self._env = env
        self._output = output
        self._warm = warm
        self._can_fork = sys.platform == "linux"
        self._forks = Forks(self._start_server, on_death=_log_replaced)

    def make(self) -> FunctionProcess:
        """Create a process. Blocks until all is imported; raises `OSError` if the system cannot hold another one."""
        for _ in range(SERVERS):
            if not self._can_fork:
                break
            try:
                return self._fork()
            except ForkServerDiedError as exc:
                if exc.from_outside:
                    _log_replaced(exc)
                else:
                    self._can_fork = False
                    log.error("starting functions without a fork server: %s", _described(exc))
        return StartedProcess(self._spawner, self._env, self._output)

    def stop(self) -> None:
        """End all forked processes."""
        self._forks.stop()

    def _start_server(self, control_fd: int, output: IO[bytes]) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", SERVER, str(control_fd), self._warm]
        env = {**self._env, **ONE_THREAD}
        return self._spawner.spawn(argv, env=env, output=output, pass_fds=(control_fd,))

    def _fork(self) -> ForkedProcess:
        processes.rotate(self._output)
        output = self._output.open("ab")
        try:
            return ForkedProcess(self._forks.fork(output))
        except BaseException:
            output.close()
            raise


def _log_replaced(error: ForkServerDiedError) -> None:
    log.error("starting another fork server: %s", _described(error))


def _described(error: ForkServerDiedError) -> str:
    code = error.exit_code
    ending = f"by a signal ({(signal.strsignal(-code) or str(-code)).lower()})" if code < 0 else f"with code {code}"
    return f"the fork server of the functions ended {ending}: {error.stderr.strip() or 'it printed nothing'}"


def _kill(pids: Sequence[int]) -> None:
    for pid in reversed(pids):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
