"""One confined child of this process: how it is started, given its file, ended and asked why it died.

A thread per child starts it and waits for it. It must be one thread for both, because the kernel sends the child its
death signal when the *thread* that started it ends.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from typing import Final

from connectors.confinement import child_environment

STDERR_SHOWN_BYTES: Final = 2000
PARSER_ENVIRONMENT: Final = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # RLIMIT_AS and the arenas of mimalloc do not go together
    "NUMBA_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",  # also the number of Arrow's threads
    "OPENBLAS_NUM_THREADS": "1",
}
PRELOAD: Final = "preload"


class ChildProcess:
    """A child that waits for its job. `preload`: it loads what parsing needs before it gets one."""

    def __init__(self, *, preload: bool = False) -> None:
        self._preload = preload
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: list[BaseException] = []
        self._reaped = False
        self._lock = threading.Lock()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  # closed in `close`
        self._control, self._its_control = socket.socketpair()
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run, name="parser-parent", daemon=True)
        self._thread.start()
        self._begun.wait()
        if self._errors:
            self.close()
            raise self._errors[0]

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return self._thread.is_alive()

    @property
    def exit_code(self) -> int:
        """Negative for a signal; after `wait`."""
        return self._process.returncode if self._process is not None else 0

    def await_ready(self) -> None:
        """Until one that was started with `preload` has loaded everything, or has died."""
        self._control.recv(1)

    def assign(self, job: Mapping[str, object], source_fd: int, frames_fd: int) -> None:
        """Give it its file and where to write frames to; it gets copies of the descriptors. Once only.

        A child that has died says so by its frames, not here.
        """
        try:
            socket.send_fds(self._control, [b"J"], [source_fd, frames_fd])
            self._control.sendall(json.dumps(job).encode())
            self._control.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def kill(self) -> None:
        """End it at once."""
        with self._lock:  # a process id may be killed only until it is reaped: then it may be another's
            if self._process is not None and not self._reaped:
                os.kill(self._process.pid, signal.SIGKILL)

    def wait(self) -> None:
        """Until it has ended."""
        self._thread.join()

    def last_words(self) -> bytes:
        """The end of what it wrote to standard error; after `wait`."""
        self._stderr.seek(max(0, self._stderr.seek(0, os.SEEK_END) - STDERR_SHOWN_BYTES))
        return self._stderr.read()

    def close(self) -> None:
        """Kill it if it still runs and give everything back. May be called twice."""
        self.kill()
        self.wait()
        self._control.close()
        self._its_control.close()
        self._stderr.close()

    def _run(self) -> None:
        try:
            with self._its_control:
                self._process = self._start()
        except BaseException as exc:  # noqa: BLE001  # raised again in the thread that wanted the child
            self._errors.append(exc)
            return
        finally:
            self._begun.set()
        os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        with self._lock:
            self._reaped = True
            self._process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        fd = self._its_control.fileno()
        # -P: the directory the parent happens to be in is no place to import from.
        command = [sys.executable, "-P", "-m", "connectors.sources.child", str(fd), str(os.getpid())]
        return subprocess.Popen(
            command + [PRELOAD] * self._preload,
            stdin=subprocess.DEVNULL,
            stdout=self._stderr,
            stderr=self._stderr,
            env=child_environment() | PARSER_ENVIRONMENT,
            pass_fds=(fd,),
        )
