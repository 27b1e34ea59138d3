"""One child of a fork server, as its owner sees it: assign its work, kill it, and learn why it died."""

import errno
import json
import os
import select
import signal
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, Final

from connectors.confinement import kill_process, stderr_tail

START_TIMEOUT_S: Final = 300.0
"""Seconds to load everything and fork; compiling takes half a minute if no cache can be written."""
FORK: Final = b"F"
"""Request to the server; carries the child's end of `control`, the server's end of `status`, and the child's output."""
ANSWER: Final = struct.Struct("<iiI")
"""Answer on `status`: 0 with a descriptor of the child's process, or an errno; process id; `about`."""
END: Final = struct.Struct("<iQ")
"""Final message on `status`: the exit code, and the peak memory in bytes."""


class ChildProcess:
    """A child that waits for its work once `begin` has returned. Safe to share between threads."""

    def __init__(self, server: socket.socket, output: IO[bytes] | None = None) -> None:
        """Request the child.

        Its output goes to `output`, which `close` closes; without one it is kept for `stderr_tail`.
        """
        self.exit_code = 0
        """Negative for a signal; set by `wait`."""
        self.peak_bytes = 0
        """Peak memory, including memory shared with the server; set by `wait`."""
        self.about = 0
        """The server's `about` value, the same for all its children; set by `begin`."""
        self.pid = 0
        """Process id. It may be reused once the child has ended; `kill` never hits another process."""
        self._pidfd = -1
        self._ended = False
        self._signalling, self._waiting = threading.Lock(), threading.Lock()
        self._output = output or tempfile.TemporaryFile()  # noqa: SIM115  # closed in `close`
        self.control, its_control = socket.socketpair()
        self._status, its_status = socket.socketpair()
        given = [its_status.fileno(), its_control.fileno(), self._output.fileno()]
        with its_control, its_status, suppress(BrokenPipeError, ConnectionResetError):
            socket.send_fds(server, [FORK], given)

    def begin(self) -> bool:
        """Wait until the child exists. False if the server has died.

        Raises `TimeoutError` if the server does not answer, and OSError if it cannot fork.
        """
        self._status.settimeout(START_TIMEOUT_S)
        answer, fds, _, _ = socket.recv_fds(self._status, ANSWER.size, 1)
        self._status.settimeout(None)
        if not answer:
            return False
        code, pid, about = ANSWER.unpack(answer)
        if not fds:
            code = code or errno.EMFILE  # the answer's descriptor was lost: this process has none left
            raise OSError(code, os.strerror(code))
        self.pid, self.about = pid, about
        self._pidfd = fds[0]
        return True

    def assign(self, job: Mapping[str, object], *fds: int) -> None:
        """Send the child its job with copies of descriptors; nothing can be sent later.

        A dead child raises nothing here; it shows in the missing output.
        """
        with suppress(BrokenPipeError, ConnectionResetError):
            socket.send_fds(self.control, [b"J"], fds)
            self.control.sendall(json.dumps(job).encode())
            self.control.shutdown(socket.SHUT_WR)

    def kill(self) -> None:
        """Kill the child."""
        with self._signalling:
            if self._pidfd >= 0:
                with suppress(ProcessLookupError):
                    kill_process(self._pidfd)

    @property
    def alive(self) -> bool:
        """True while the child runs."""
        with self._signalling:
            return self._pidfd >= 0 and not _ends(self._pidfd, 0)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the child to end. False if it still runs after `timeout_s`. Threads may wait at once."""
        began = time.monotonic()
        # The lock keeps `close` from releasing the descriptor that a thread waits for.
        if not self._waiting.acquire(timeout=-1 if timeout_s is None else timeout_s):
            return False
        try:
            if self._ended or self._pidfd < 0:
                return True
            left_s = None if timeout_s is None else max(0.0, began + timeout_s - time.monotonic())
            if not _ends(self._pidfd, left_s):  # the server's message is not enough to wait for: it may have died
                return False
            end = self._status.recv(END.size)
            # If the server has died, the exit code is unknown: the child was killed with it.
            self.exit_code, self.peak_bytes = END.unpack(end) if end else (-signal.SIGKILL, 0)
            self._ended = True
            return True
        finally:
            self._waiting.release()

    def stderr_tail(self) -> bytes:
        """The end of the child's output; after `wait`."""
        return stderr_tail(self._output)

    def close(self) -> None:
        """Kill the child if it still runs and release everything. May be called twice."""
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
    """True if a process ends within that time."""
    ends = select.poll()
    ends.register(pidfd, select.POLLIN)
    return bool(ends.poll(None if timeout_s is None else timeout_s * 1000))
