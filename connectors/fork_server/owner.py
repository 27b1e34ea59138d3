"""The owner's side of a fork server: it is started when it is wanted first, and replaced when it has died."""

import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable
from typing import IO, Final

from connectors.confinement import last_words
from connectors.fork_server.child_process import ChildProcess

END_MAX_S: Final = 60.0
"""For a server to end, once its sockets are closed."""
Start = Callable[[int, IO[bytes]], subprocess.Popen[bytes]]
"""Starts a server with the descriptor of its control socket, whose standard output and error are that file."""


class ForkServerDiedError(Exception):
    """The server has ended, or has not answered and was ended: by its exit code, negative for a signal, and words."""

    def __init__(self, exit_code: int, words: str) -> None:
        super().__init__(exit_code, words)
        self.exit_code, self.words = exit_code, words

    @property
    def from_outside(self) -> bool:
        """Whether a signal ended it that it gives itself for no reason: another one may live."""
        return self.exit_code in (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT)


class ForkServer:
    """One server, which loads while its owner goes on. It ends with its owner, and what it has forked with it."""

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
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def await_ready(self) -> None:
        """Until it has loaded everything, or has died. For measurements: who wants a child just forks."""
        if not self._ready:
            self._control.recv(1)
            self._ready = True

    def fork(self, output: IO[bytes] | None = None) -> ChildProcess:
        """A child that waits for its work; the caller closes it. Blocks until everything is loaded.

        Raises `ForkServerDiedError`, and OSError when the system lets the server fork no more.
        """
        child = ChildProcess(self._control, output)
        try:
            if not self._begins(child):
                raise self.death()
        except BaseException:
            child.close()
            raise
        return child

    def death(self) -> ForkServerDiedError:
        """Why it has ended, or closed its sockets."""
        # They close before it has ended. Killed in between, it would have the exit code of a kill, not its own.
        try:
            code = self._process.wait(END_MAX_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        return ForkServerDiedError(code, last_words(self._output).decode(errors="replace"))

    def kill(self) -> None:
        """End it and what it has forked: who waits for a child is told so."""
        self._process.kill()

    def close(self) -> None:
        """As `kill`, and give everything back. May be called twice."""
        self.kill()
        self._process.wait()
        self._control.close()
        self._output.close()

    def _begins(self, child: ChildProcess) -> bool:
        try:
            return child.begin()
        except TimeoutError:
            self._process.kill()
            return False


class Forks:
    """Children of one server at a time. Safe to share between threads."""

    def __init__(self, start: Start, died: Callable[[ForkServerDiedError], None] = lambda _: None) -> None:
        """`died` is told of a server that has ended while nobody asked it for a child, before it is replaced."""
        self._start = start
        self._died = died
        self._lock = threading.Lock()
        self._server: ForkServer | None = None

    def prepare(self) -> None:
        """Start the server now: it loads while what needs it is still on its way."""
        with self._lock:
            self._living()

    def await_ready(self) -> None:
        """Until everything is loaded. For measurements."""
        with self._lock:
            self._living().await_ready()

    def fork(self, output: IO[bytes] | None = None) -> ChildProcess:
        """A child that waits for its work. As `ForkServer.fork`."""
        with self._lock:
            try:
                return self._living().fork(output)
            except ForkServerDiedError:
                self._close()
                raise

    def stop(self) -> None:
        """End the server, and every child that still runs."""
        if (server := self._server) is not None:
            server.kill()  # who waits until it has loaded holds the lock
        with self._lock:
            self._close()

    def _living(self) -> ForkServer:
        if self._server is not None and not self._server.alive:
            self._died(self._server.death())
            self._close()
        if self._server is None:
            self._server = ForkServer(self._start)
        return self._server

    def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
