"""System calls that kill or fail, by strace's injection: at the k-th write of a process, not at a point in time.

strace counts the calls of each thread separately; the first thread that reaches its k-th call is hit.
"""

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Self

STRACE_OPTIONS: Final = ("strace", "-f", "-qq")
SENDS: Final = "write,writev,pwrite64,sendto,sendmsg,sendmmsg"
"""Every system call by which a process can send anything: to files, sockets, pipes."""
FILE_WRITES: Final = "pwrite64,pwritev,fsync,fdatasync,ftruncate"
"""Calls that write only to files. `write` would also hit pipes and sockets, which are never full."""
ATTACH_TIMEOUT_S: Final = 60.0


def available() -> str | None:
    """Why processes cannot be traced here. None if they can."""
    if shutil.which("strace") is None:
        return "strace is not installed (apt-get install strace)"
    tried = subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"strace may not trace here: {tried.stderr.strip()}"


def kill_at(number: int) -> str:
    """SIGKILL at the `number`-th call that sends anything."""
    return f"-e trace={SENDS} -e inject={SENDS}:signal=KILL:when={number}"


def fail_with(error: str, first: int, count: int) -> str:
    """`count` writes to files fail, from the `first` one on (1..)."""
    return f"-e trace={FILE_WRITES} -e inject={FILE_WRITES}:error={error}:when={first}..{first + count - 1}"


class Tracer:
    """strace attached to running processes, with an injection. A context manager; leaving it detaches."""

    def __init__(self, pids: Iterable[int], inject: str, log: Path) -> None:
        self._pids = tuple(pids)
        self._log = log
        self._said = log.with_suffix(".err")
        self._inject = inject.split()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        attach = (f"--attach={pid}" for pid in self._pids)
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                ["strace", "-f", "-o", str(self._log), *attach, *self._inject], stderr=said, stdin=subprocess.DEVNULL
            )
        deadline = time.monotonic() + ATTACH_TIMEOUT_S
        while not self._attached():
            assert self._process.poll() is None, self._said.read_text()
            assert time.monotonic() < deadline, self._said.read_text()
            time.sleep(0.01)
        return self

    def _attached(self) -> bool:
        """True once strace has reported each process as attached, or why it could not attach to one that has ended."""
        said = self._said.read_text()
        return all(re.search(rf"Process {pid} attached|PTRACE_\w+, {pid}\)", said) for pid in self._pids)

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(ATTACH_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def hits(self) -> int:
        """How many calls have failed, or 1 for a kill, as far as strace has logged it."""
        return hits(self._log)


def hits(log: Path) -> int:
    """How many calls have failed, or 1 for a kill, according to strace's log."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return text.count("(INJECTED)") + ("+++ killed by SIGKILL +++" in text)
