"""Child processes: tied to their parent, marked with their home, logged to a file, reliably stopped."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import IO, Final

import psutil

TETHER: Final = str(Path(__file__).with_name("tether.py"))
HOME_MARK: Final = "MUSTER_STACK_HOME"
"""Environment variable of every process of an embedded stack, including grandchildren."""
PLAIN: Final = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ", "TZDIR")
LOG_LIMIT_BYTES: Final = 16 * 1024 * 1024
TAIL_BYTES: Final = 64 * 1024
EXEC_WAITS_S: Final = (0.0, 0.001, 0.005, 0.02, 0.05)
"""Pauses between retries: a process in the middle of `execve` shows no environment."""


def plain_environment() -> dict[str, str]:
    """Variables to find programs and files. No secrets, and no JAVA_TOOL_OPTIONS that would change a part."""
    return {name: os.environ[name] for name in PLAIN if name in os.environ}


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    output: Path | IO[bytes] | None = None,
    cwd: Path | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own; it gets `death_signal` when the calling thread ends.

    Output is appended to the file of a path (rotated first if it has grown past `LOG_LIMIT_BYTES`), goes to an open
    file, or is inherited.
    """
    tethered = [sys.executable, "-I", "-S", TETHER, str(int(death_signal)), str(os.getpid()), *argv]
    with contextlib.ExitStack() as stack:
        if isinstance(output, Path):
            rotate(output)
            output = stack.enter_context(output.open("ab"))
        return subprocess.Popen(
            tethered,
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output is not None else None,
            start_new_session=True,
            pass_fds=pass_fds,
        )


def stop(process: subprocess.Popen[bytes], *, timeout_s: float, first: signal.Signals = signal.SIGTERM) -> None:
    """Ask a child's process group to end, kill it after `timeout_s`, and wait for it."""
    signal_group(process, first)
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        pass
    finally:
        # Includes what the child started in its own group and left behind.
        signal_group(process, signal.SIGKILL)
        process.wait()


def signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal the process group that `spawn` made for a child, also what is left of it after the child was waited for.

    Ignores one that has ended, whose number may be another process's by now.
    """
    if process.returncode is not None and psutil.pid_exists(process.pid):
        return  # waited for, so that this is another process
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def marked(home: Path) -> list[psutil.Process]:
    """Processes of this user with the mark of this home, wherever they were started."""
    found: list[psutil.Process] = []
    candidates = list(psutil.process_iter())
    for wait_s in EXEC_WAITS_S:
        time.sleep(wait_s)
        starting: list[psutil.Process] = []
        for process in candidates:
            try:
                environment = process.environ()
                if environment.get(HOME_MARK) == str(home) and process.pid != os.getpid():
                    found.append(process)
                elif not environment and process.exe():  # a kernel thread has neither
                    starting.append(process)
            except (psutil.Error, OSError):
                continue
        candidates = starting
        if not candidates:
            break
    return found


def end_all(processes: Iterable[psutil.Process], *, timeout_s: float) -> int:
    """End processes that are not our children: SIGTERM, after `timeout_s` SIGKILL. Returns how many there were."""
    found = list(processes)
    for process in found:
        with contextlib.suppress(psutil.Error):
            process.terminate()
            process.resume()  # a stopped process takes no SIGTERM
    _, alive = psutil.wait_procs(found, timeout=timeout_s)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=timeout_s)
    return len(found)


def listener_name(port: int) -> str:
    """The process that listens on a TCP port, for messages. Empty if the operating system does not tell."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            address = connection.laddr
            if connection.status == psutil.CONN_LISTEN and address and address.port == port and connection.pid:
                return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
    return ""


def listens(pid: int, port: int) -> bool:
    """Whether this process listens on a TCP port."""
    with contextlib.suppress(psutil.Error, OSError):
        found = psutil.Process(pid).net_connections("tcp")
        return any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in found)
    return False


def rotate(log: Path) -> None:
    """Move a log file aside that has grown past `LOG_LIMIT_BYTES`; one older file is kept."""
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > LOG_LIMIT_BYTES:
            log.replace(log.with_name(f"{log.name}.1"))


def tail(log: Path, lines: int = 20) -> tuple[str, ...]:
    """The last lines of a log file. Empty if it does not exist."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            return tuple(file.read().decode("utf-8", "replace").splitlines()[-lines:])
    except OSError:
        return ()


class Spawner:
    """One thread that starts all children of a process whose other threads are short-lived (see `tether`)."""

    def __init__(self) -> None:
        self._requests: queue.SimpleQueue[tuple[Callable[[], subprocess.Popen[bytes]], Future[subprocess.Popen[bytes]]]]
        self._requests = queue.SimpleQueue()
        threading.Thread(target=self._run, name="spawner", daemon=True).start()

    def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        output: Path | IO[bytes] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> subprocess.Popen[bytes]:
        """`processes.spawn` on the long-lived thread. Blocks until the child is started; raises `OSError`."""
        future: Future[subprocess.Popen[bytes]] = Future()
        self._requests.put((lambda: spawn(argv, env=env, output=output, pass_fds=pass_fds), future))
        return future.result()

    def _run(self) -> None:
        while True:
            start, future = self._requests.get()
            try:
                future.set_result(start())
            except Exception as exc:  # noqa: BLE001 - handed to the caller
                future.set_exception(exc)
