"""One child of a fork server: how it is given its work, ended, and asked why it died."""

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
from typing import IO, Final

from connectors.confinement import kill_process, last_words

BEGIN_MAX_S: Final = 300.0
"""To load everything and fork; to compile it, where no cache of it can be written, takes half a minute."""
FORK: Final = b"F"
"""A request to the server. With it come the child's end of `control`, the server's of `status`, and its output."""
ANSWER: Final = struct.Struct("<iiI")
"""What the server says on `status`: 0 with a descriptor of the child's process, or an errno; process id; `about`."""
END: Final = struct.Struct("<iQ")
"""What it says there later: the exit code, and the largest memory in bytes."""


class ChildProcess:
    """A child that waits for its work, once it has begun. Safe to share between threads."""

    def __init__(self, server: socket.socket, output: IO[bytes] | None = None) -> None:
        """Ask the server for it. It writes to `output`, which is closed with it; without one, `last_words` has it."""
        self.exit_code = 0
        """Negative for a signal; after `wait`."""
        self.peak_bytes = 0
        """Its largest memory, what it shares with the server included; after `wait`."""
        self.about = 0
        """What the server says of all its children; once it has begun."""
        self.pid = 0
        """Another process may have it once this one has ended: `kill` takes no other for it."""
        self._pidfd = -1
        self._ended = False
        self._signalling, self._waiting = threading.Lock(), threading.Lock()
        self._output = output or tempfile.TemporaryFile()  # noqa: SIM115  # closed in `close`
        self.control, its_control = socket.socketpair()
        self._status, its_status = socket.socketpair()
        given = [its_control.fileno(), its_status.fileno(), self._output.fileno()]
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
        code, pid, about = ANSWER.unpack(answer)
        if not fds:
            code = code or errno.EMFILE  # no descriptor was left for the one that was sent
            raise OSError(code, os.strerror(code))
        self.pid, self.about = pid, about
        self._pidfd = fds[0]
        return True

    def assign(self, job: Mapping[str, object], *fds: int) -> None:
        """Give it its job with copies of descriptors, and nothing later.

        A child that has died says so by what it does not write, not here.
        """
        with suppress(BrokenPipeError, ConnectionResetError):
            socket.send_fds(self.control, [b"J"], fds)
            self.control.sendall(json.dumps(job).encode())
            self.control.shutdown(socket.SHUT_WR)

    def kill(self) -> None:
        """End it at once."""
        with self._signalling:
            if self._pidfd >= 0:
                with suppress(ProcessLookupError):
                    kill_process(self._pidfd)

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet."""
        with self._signalling:
            return self._pidfd >= 0 and not _ends(self._pidfd, 0)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Until it has ended. False if it has not after `timeout_s`."""
        with self._waiting:
            if self._ended or self._pidfd < 0:
                return True
            if not _ends(self._pidfd, timeout_s):  # not only until the server tells: it may have died
                return False
            told = self._status.recv(END.size)
            # Where the server has died nobody knows: the child was killed with it.
            self.exit_code, self.peak_bytes = END.unpack(told) if told else (-signal.SIGKILL, 0)
            self._ended = True
            return True

    def last_words(self) -> bytes:
        """The end of what it wrote; after `wait`."""
        return last_words(self._output)

    def close(self) -> None:
        """Kill it if it still runs and give everything back. May be called twice."""
        self.kill()
        self.wait()
        with self._signalling:
            if self._pidfd >= 0:
                os.close(self._pidfd)
                self._pidfd = -1
        self.control.close()
        self._status.close()
        self._output.close()


def _ends(pidfd: int, timeout_s: float | None) -> bool:
    """Whether a process ends within that time."""
    ends = select.poll()
    ends.register(pidfd, select.POLLIN)
    return bool(ends.poll(None if timeout_s is None else timeout_s * 1000))
