"""The fork server itself, run by a program that is started with the descriptor of its control socket.

1. It loads what its children need, in one thread, so that a fork never inherits a lock that no thread will release.
2. It answers each request on the socket with a fork (see `ChildProcess` for the messages). It never sees a child's
   work.
3. It ends when the other end of the socket closes, however its owner dies; its children end with it (PR_SET_PDEATHSIG).
"""

import errno
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NoReturn

from connectors.confinement import die_with_parent, open_process
from connectors.fork_server.child_process import ANSWER, END
from connectors.loading import loading

FDS: Final = 3
"""Descriptors that come with a request."""
KIB: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildBehaviour:
    """Behaviour of the forks: `run` gets the child's control socket and returns its exit code.

    `kept`: descriptors of the server that children keep. `about`: value reported to the owner for each child.
    `lead_groups`: each child leads its own session, and what remains of its process group is killed when it ends.
    """

    run: Callable[[int], int]
    kept: frozenset[int] = frozenset()
    about: int = 0
    lead_groups: bool = False


def main(load: Callable[[], ChildBehaviour]) -> NoReturn:
    """Load, then serve forks until the owner is gone. The control socket is the program's first argument."""
    exit_code = 1
    try:
        # Stays open until the process ends: the owner takes a closed socket for our death.
        control = socket.socket(fileno=int(sys.argv[1]))
        # An interrupt reaches the whole process group; the parent handles it, by ending us.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.close(open_process(os.getpid()))  # fail now, not at the first child, if the system lacks this
        with loading():
            children = load()
        sys.stdout.flush()  # or each child would write it again
        control.send(b"R", socket.MSG_NOSIGNAL)
        _serve(control, children)
        exit_code = 0
    except BaseException:  # noqa: BLE001  # printed before the socket closes, which is when it is read
        traceback.print_exc()
    finally:
        os._exit(exit_code)


def _serve(control: socket.socket, behaviour: ChildBehaviour) -> None:
    ready = select.poll()
    ready.register(control, select.POLLIN)
    children: dict[int, tuple[int, socket.socket]] = {}
    """By descriptor of the child's process: process id, and the socket that waits for the exit code."""
    while True:
        for fd, _ in ready.poll():
            if fd != control.fileno():
                ready.unregister(fd)
                os.close(fd)
                _report_exit(*children.pop(fd), behaviour)
                continue
            try:
                request, fds, _, _ = socket.recv_fds(control, 1, FDS)
            except ConnectionResetError:  # closed before everything we sent was read
                return
            if not request:
                return
            if len(fds) < FDS:
                _refuse(fds, behaviour)
                continue
            its_status, its_control, output = fds
            status = socket.socket(fileno=its_status)
            try:
                pid, pidfd = _fork(its_control, output, behaviour)
            except OSError as exc:
                with status:
                    _report(status, ANSWER.pack(exc.errno or errno.EAGAIN, 0, behaviour.about))
                continue
            finally:
                os.close(its_control)
                os.close(output)
            children[pidfd] = pid, status
            ready.register(pidfd, select.POLLIN)
            _report(status, ANSWER.pack(0, pid, behaviour.about), pidfd)


def _refuse(fds: Sequence[int], behaviour: ChildBehaviour) -> None:
    """Refuse a request whose descriptors did not all fit into this process; the socket for the answer comes first."""
    for fd in fds[1:]:
        os.close(fd)
    for fd in fds[:1]:
        with socket.socket(fileno=fd) as status:
            _report(status, ANSWER.pack(errno.EMFILE, 0, behaviour.about))


def _report_exit(pid: int, status: socket.socket, behaviour: ChildBehaviour) -> None:
    if behaviour.lead_groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)  # before it is reaped, while no other process can have its number
    _, how, used = os.wait4(pid, 0)
    with status:
        _report(status, END.pack(os.waitstatus_to_exitcode(how), used.ru_maxrss * KIB))


def _report(status: socket.socket, what: bytes, *fds: int) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # no one is waiting any more
        socket.send_fds(status, [what], fds, socket.MSG_NOSIGNAL)


def _fork(its_control: int, output: int, behaviour: ChildBehaviour) -> tuple[int, int]:
    """Fork a child that works on `its_control`; returns its process id and a descriptor of its process."""
    server = os.getpid()
    pid = os.fork()
    if pid == 0:
        _run_child(server, its_control, output, behaviour)
    try:
        return pid, open_process(pid)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def _run_child(server: int, its_control: int, output: int, behaviour: ChildBehaviour) -> NoReturn:
    code = 1
    try:
        for fd in (1, 2):
            os.dup2(output, fd)
        die_with_parent(server)
        # It keeps nothing of its siblings, and cannot request children.
        _close_all_but({0, 1, 2, its_control, *behaviour.kept})
        if behaviour.lead_groups:
            os.setsid()
        code = behaviour.run(its_control)
    except MemoryError:
        os.write(2, b"MemoryError\n")  # a traceback would need more memory
    except BaseException:  # noqa: BLE001  # the child must never continue as the server
        traceback.print_exc()
    finally:
        # All output is written when `run` returns; shutting the interpreter down would only cost time.
        os._exit(code)


def _close_all_but(kept: set[int]) -> None:
    for fd in {int(name) for name in os.listdir("/proc/self/fd")} - kept:  # noqa: PTH208  # numbers, not paths
        with suppress(OSError):  # the descriptor of the listing itself is closed already
            os.close(fd)
