"""One confined child of the fork server: how it is given its file, ended, and asked why it died."""

import errno
import json
import os
import select
import signal
import socket
import struct
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from connectors.confinement import kill_process, last_words
from connectors.sandbox import NOTHING, Layer

BEGIN_MAX_S: Final = 300.0
"""To load everything and fork; to compile it, where no cache of it can be written, takes half a minute."""
FORK: Final = b"F"
"""A request to the server. With it come the child's end of `control`, the server's of `status`, and stderr."""
ANSWER: Final = struct.Struct("<iI")
"""What the server says on `status`: 0 with a descriptor of the child's process, or an errno; and missing layers."""
END: Final = struct.Struct("<iQ")
"""What it says there later: the exit code, and the largest memory in bytes."""


class ChildProcess:
    """A child that waits for its job, once it has begun. Safe to share between threads."""

    def __init__(self, server: socket.socket) -> None:
        """Ask the server for it."""
        self.exit_code = 0
        """Negative for a signal; after `wait`."""
        self.peak_bytes = 0
        """Its largest memory, what it shares with the server included; after `wait`."""
        self.missing = NOTHING
        """What it is not confined by; once it has begun."""
        self._pidfd = -1
        self._ended = False
        self._signalling, self._waiting = threading.Lock(), threading.Lock()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  # closed in `close`
        self._control, its_control = socket.socketpair()
        self._status, its_status = socket.socketpair()
        given = [its_control.fileno(), its_status.fileno(), self._stderr.fileno()]
        with its_control, its_status, suppress(BrokenPipeError, ConnectionResetError):
            socket.send_fds(server, [FORK], given)

    def begin(self) -> bool:
        """Wait until it is there. False if the server has died.

        Raises `TimeoutError` if the server does not answer, and OSError if it may not fork.
        """
        self._status.settimeout(BEGIN_MAX_S)
        answer, fds, _, _ = socket.recv_fds(self._status, ANSWER.size, 1)
        self._status.settimeout(None)
        if not answer:
            return False
        code, missing = ANSWER.unpack(answer)
        if not fds:
            code = code or errno.EMFILE  # no descriptor was left for the one that was sent
            raise OSError(code, os.strerror(code))
        self.missing = Layer(missing)
        self._pidfd = fds[0]
        return True

    def assign(self, job: Mapping[str, object], source_fd: int, frames_fd: int) -> None:
        """Give it its file and where to write frames to; it gets copies of the descriptors. Once only.

        A child that has died says so by its frames, not here.
        """
        with suppress(BrokenPipeError, ConnectionResetError):
            socket.send_fds(self._control, [b"J"], [source_fd, frames_fd])
            self._control.sendall(json.dumps(job).encode())
            self._control.shutdown(socket.SHUT_WR)

    def kill(self) -> None:
        """End it at once."""
        with self._signalling:
            if self._pidfd >= 0:
                with suppress(ProcessLookupError):
                    kill_process(self._pidfd)

    def wait(self) -> None:
        """Until it has ended."""
        with self._waiting:
            if self._ended or self._pidfd < 0:
                return
            ends = select.poll()
            ends.register(self._pidfd, select.POLLIN)
            ends.poll()  # not only until the server tells: it may have died
            told = self._status.recv(END.size)
            # Where the server has died nobody knows: the child was killed with it.
            self.exit_code, self.peak_bytes = END.unpack(told) if told else (-signal.SIGKILL, 0)
            self._ended = True

    def last_words(self) -> bytes:
        """The end of what it wrote to standard error; after `wait`."""
        return last_words(self._stderr)

    def close(self) -> None:
        """Kill it if it still runs and give everything back. May be called twice."""
        self.kill()
        self.wait()
        with self._signalling:
            if self._pidfd >= 0:
                os.close(self._pidfd)
                self._pidfd = -1
        self._control.close()
        self._status.close()
        self._stderr.close()
