"""The process that parsers are forked from. It has loaded what parsing needs: a file costs a fork, not a start.

It sees no file. Each file has a child of its own, which has seen no other.
"""

import atexit
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from typing import Final

from connectors.confinement import child_environment, last_words
from connectors.sources.child_process import ChildProcess
from schemas.errors import FatalError, MusterError, RetriableError

PARSER_ENVIRONMENT: Final = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # RLIMIT_AS and the arenas of mimalloc do not go together
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # Arrow starts it although nothing is taken from jemalloc
    "NUMBA_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",  # also the number of Arrow's threads
    "OPENBLAS_NUM_THREADS": "1",
}
END_MAX_S: Final = 60.0
"""For a server to end, once its sockets are closed."""


class ForkServer:
    """One server, which loads while its owner goes on. It ends with its owner, and what it has forked with it."""

    def __init__(self) -> None:
        self._ready = False
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  # closed in `close`
        self._control, its_control = socket.socketpair()
        with its_control:
            fd = its_control.fileno()
            try:
                # -P: the directory the parent happens to be in is no place to import from.
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "connectors.sources.forking", str(fd)],
                    stdin=subprocess.DEVNULL,
                    stdout=self._stderr,
                    stderr=self._stderr,
                    env=child_environment() | PARSER_ENVIRONMENT,
                    pass_fds=(fd,),
                )
            except BaseException:
                self._control.close()
                self._stderr.close()
                raise

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def await_ready(self) -> None:
        """Until it has loaded everything, or has died. For measurements: who has a file just forks."""
        if not self._ready:
            self._control.recv(1)
            self._ready = True

    def fork(self) -> ChildProcess:
        """A child that waits for its job; the caller closes it. Blocks until everything is loaded.

        Raises `RetriableError` PARSER_KILLED and `FatalError` PARSER_FAILED when the server has died, and OSError when
        the system lets it fork no more.
        """
        child = ChildProcess(self._control)
        try:
            if not self._begins(child):
                raise self._death()
        except BaseException:
            child.close()
            raise
        return child

    def kill(self) -> None:
        """End it and what it has forked: who waits for a child is told so."""
        self._process.kill()

    def close(self) -> None:
        """As `kill`, and give everything back. May be called twice."""
        self.kill()
        self._process.wait()
        self._control.close()
        self._stderr.close()

    def _begins(self, child: ChildProcess) -> bool:
        try:
            return child.begin()
        except TimeoutError:
            self._process.kill()
            return False

    def _death(self) -> MusterError:
        # Its sockets close before it has ended. Killed in between, it would have the exit code of a kill, not its own.
        try:
            code = self._process.wait(END_MAX_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        detail = {"exit_code": code, "stderr": last_words(self._stderr).decode(errors="replace")}
        if code in (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT):
            return RetriableError("PARSER_KILLED", f"the parser was ended from outside (signal {-code})", **detail)
        return FatalError("PARSER_FAILED", f"the parser cannot be started: it ended with code {code}", **detail)


class Parsers:
    """The children of this process: of one server, which is started when it is wanted first. Safe to share."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: ForkServer | None = None

    def prepare(self) -> None:
        """Start the server now: it loads while the file is still being looked for."""
        with self._lock:
            self._living()

    def await_ready(self) -> None:
        """Until everything is loaded. For measurements."""
        with self._lock:
            self._living().await_ready()

    def fork(self) -> ChildProcess:
        """A child that waits for its job. As `ForkServer.fork`."""
        with self._lock:
            return self._living().fork()

    def stop(self) -> None:
        """End the server, and every child that still runs."""
        if (server := self._server) is not None:
            server.kill()  # who waits until it has loaded holds the lock
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            server.close()

    def _living(self) -> ForkServer:
        if self._server is not None and not self._server.alive:
            self._server.close()
            self._server = None
        if self._server is None:
            self._server = ForkServer()
        return self._server


PARSERS = Parsers()
"""Those of this process."""
atexit.register(PARSERS.stop)
