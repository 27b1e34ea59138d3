"""The owner's side of a fork server: start it on first use, and replace it when it has died."""

import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable
from typing import IO, Final

from connectors.confinement import stderr_tail
from connectors.fork_server.child_process import ChildProcess

EXIT_TIMEOUT_S: Final = 60.0
"""Seconds for a server to exit once its sockets are closed."""
Start = Callable[[int, IO[bytes]], subprocess.Popen[bytes]]
"""Starts a server, given the descriptor of its control socket and the file for its standard output and error."""


class ForkServerDiedError(Exception):
    """The server has exited, or was killed for not answering. `exit_code`: negative for a signal."""

    def __init__(self, exit_code: int, stderr: str) -> None:
        super().__init__(exit_code, stderr)
        self.exit_code, self.stderr = exit_code, stderr

    @property
    def from_outside(self) -> bool:
        """True if it was ended by a signal that does not come from a fault of its own: another server may survive."""
        return self.exit_code in (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT)


class ForkServer:
    """One server, which loads while its owner continues. It ends with its owner, and its forks end with it."""

    def __init__(self, start: Start) -> None:
        self._ready = False
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  # closed in `close`
        self._control, its_control = socket.socketpair()
        with its_control:
            try:
                self._process = start(its_control.fileno(), self._output)
            except BaseException:
                self._control.close()
                self._output.close()
                raise

    @property
    def alive(self) -> bool:
        """True while the server runs."""
        return self._process.poll() is None

    def await_ready(self) -> None:
        """Wait until the server has loaded everything, or has died. For measurements: to get a child, just fork."""
        if not self._ready:
            self._control.recv(1)
            self._ready = True

    def fork(self, output: IO[bytes] | None = None) -> ChildProcess:
        """A child that waits for its work; the caller closes it. Blocks until the server has loaded everything.

        Raises `ForkServerDiedError`, and OSError if the system does not let the server fork.
        """
        child = ChildProcess(self._control, output)
        try:
            if not self._started(child):
                raise self.death()
        except BaseException:
            child.close()
            raise
        return child

    def death(self) -> ForkServerDiedError:
        """Error for a server that has exited or closed its sockets."""
        # The sockets close before the process exits. Killed in between, it would report the kill as its exit code.
        try:
            code = self._process.wait(EXIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        return ForkServerDiedError(code, stderr_tail(self._output).decode(errors="replace"))

    def kill(self) -> None:
        """Kill the server and its children; a `fork` that is waiting gets `ForkServerDiedError`."""
        self._process.kill()

    def close(self) -> None:
        """Like `kill`, and release everything. May be called twice."""
        self.kill()
        self._process.wait()
        self._control.close()
        self._output.close()

    def _started(self, child: ChildProcess) -> bool:
        try:
            return child.begin()
        except TimeoutError:
            self._process.kill()
            return False


class Forks:
    """Forks children from one server at a time. Safe to share between threads."""

    def __init__(self, start: Start, on_death: Callable[[ForkServerDiedError], None] = lambda _: None) -> None:
        """`on_death` is called with the error of a server that exited while idle, before it is replaced."""
        self._start = start
        self._on_death = on_death
        self._lock = threading.Lock()
        self._server: ForkServer | None = None

    def prepare(self) -> None:
        """Start the server now, so that it loads before it is needed."""
        with self._lock:
            self._running_server()

    def await_ready(self) -> None:
        """Wait until everything is loaded. For measurements."""
        with self._lock:
            self._running_server().await_ready()

    def fork(self, output: IO[bytes] | None = None) -> ChildProcess:
        """A child that waits for its work. See `ForkServer.fork`."""
        with self._lock:
            try:
                return self._running_server().fork(output)
            except ForkServerDiedError:
                self._close()
                raise

    def stop(self) -> None:
        """Stop the server and all children that still run."""
        if (server := self._server) is not None:
            server.kill()  # a thread that waits for loading holds the lock
        with self._lock:
            self._close()

    def _running_server(self) -> ForkServer:
        if self._server is not None and not self._server.alive:
            self._on_death(self._server.death())
            self._close()
        if self._server is None:
            self._server = ForkServer(self._start)
        return self._server

    def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
