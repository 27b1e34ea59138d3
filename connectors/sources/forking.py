"""The fork server itself: `python -m connectors.sources.forking CONTROL_FD`.

1. It loads what parsing needs by parsing rows of its own, in one thread: what is forked has no lock that nobody opens.
2. It enters namespaces of its own, which its forks share, and makes the rules that each of them puts on.
3. Each request over the socket CONTROL_FD is answered by a fork (`ChildProcess` has the messages). It looks at no job.
4. It ends when the other end of the socket is closed, by whatever death; its children end with it (PR_SET_PDEATHSIG).
"""

import errno
import gc
import os
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from typing import Final, NoReturn

from connectors.confinement import die_with, open_process
from connectors.sandbox import Confinement, Plan, enter_namespaces, program_files
from connectors.sources import child
from connectors.sources.child_process import ANSWER, END

FDS: Final = 3
"""That come with a request."""
KIB: Final = 1024


def main(control: socket.socket) -> int:
    """Until nobody asks any more."""
    # An interrupt goes to the whole group; it is the parent that answers it, by ending us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.meta_path.insert(0, _NoPandas())
    os.close(open_process(os.getpid()))  # where it cannot be done it is said now, and not of a file
    _load()
    confinement = Confinement(Plan(readable=program_files()))
    confinement.missing |= enter_namespaces()
    confinement.give_up_rights()  # its forks have none either, and what is missing is known before the first
    control.send(b"R", socket.MSG_NOSIGNAL)
    _serve(control, confinement)
    return 0


class _NoPandas:
    """pyarrow imports pandas, where it is installed, to see whether a list is one of its own: 0.15 s for nothing."""

    def find_spec(self, name: str, _path: object, _target: object = None) -> None:
        """A finder of modules (`sys.meta_path`)."""
        if name == "pandas":
            raise ModuleNotFoundError(name)


def _load() -> None:
    """Import what CSV files need, and load all compiled code.

    Without a second thread: what the C library reserves for one is to count against the limits of a job, and a fork has
    one thread only.
    """
    gc.disable()  # nothing of what is loaded is garbage, but a quarter of the time goes into looking for some
    from connectors.sources.warm import warm

    warm()
    gc.freeze()  # pages of what is loaded stay shared
    gc.enable()


def _serve(control: socket.socket, confinement: Confinement) -> None:
    ready = select.poll()
    ready.register(control, select.POLLIN)
    children: dict[int, tuple[int, socket.socket]] = {}
    """By the descriptor of its process: process id, and where its exit code is awaited."""
    while True:
        for fd, _ in ready.poll():
            if fd != control.fileno():
                ready.unregister(fd)
                os.close(fd)
                _tell_end(*children.pop(fd))
                continue
            try:
                _, fds, _, _ = socket.recv_fds(control, 1, FDS)
            except ConnectionResetError:  # closed, and not everything that we said was read
                return
            if len(fds) < FDS:
                return
            its_control, its_status, stderr = fds
            status = socket.socket(fileno=its_status)
            try:
                pid, pidfd = _fork(its_control, stderr, confinement)
            except OSError as exc:
                with status:
                    _tell(status, ANSWER.pack(exc.errno or errno.EAGAIN, confinement.missing.value))
                continue
            finally:
                os.close(its_control)
                os.close(stderr)
            children[pidfd] = pid, status
            ready.register(pidfd, select.POLLIN)
            _tell(status, ANSWER.pack(0, confinement.missing.value), pidfd)


def _tell_end(pid: int, status: socket.socket) -> None:
    _, how, used = os.wait4(pid, 0)
    with status:
        _tell(status, END.pack(os.waitstatus_to_exitcode(how), used.ru_maxrss * KIB))


def _tell(status: socket.socket, what: bytes, *fds: int) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # nobody waits for it any more
        socket.send_fds(status, [what], fds, socket.MSG_NOSIGNAL)


def _fork(its_control: int, stderr: int, confinement: Confinement) -> tuple[int, int]:
    """A child that parses what it is told over `its_control`: its process id, and a descriptor of its process."""
    server = os.getpid()
    pid = os.fork()
    if pid == 0:
        _be_child(server, its_control, stderr, confinement)
    try:
        return pid, open_process(pid)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def _be_child(server: int, its_control: int, stderr: int, confinement: Confinement) -> NoReturn:
    code = 1
    try:
        for fd in (1, 2):
            os.dup2(stderr, fd)
        die_with(server)
        # It has nothing of its siblings, and cannot ask for children of its own.
        _close_all_but({0, 1, 2, its_control, *confinement.fds})
        confinement.put_on()
        code = child.run(its_control)
    except MemoryError:
        os.write(2, b"MemoryError\n")  # a traceback would take more of it
    except BaseException:  # noqa: BLE001  # it must never go on as the server
        traceback.print_exc()
    finally:
        # Everything is written when `run` returns; taking the interpreter apart would only cost time.
        os._exit(code)


def _close_all_but(kept: set[int]) -> None:
    for fd in {int(name) for name in os.listdir("/proc/self/fd")} - kept:  # noqa: PTH208  # numbers, not paths
        with suppress(OSError):  # the one that the list was read from
            os.close(fd)


if __name__ == "__main__":
    exit_code = 1
    try:
        # A global stays open until the process ends: its owner takes the end of the socket for our death.
        owner = socket.socket(fileno=int(sys.argv[1]))
        exit_code = main(owner)
    except BaseException:  # noqa: BLE001  # printed before the socket closes, which is when it is read
        traceback.print_exc()
    finally:
        os._exit(exit_code)
