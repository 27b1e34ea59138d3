"""The fork server itself: what a program calls that is started with the descriptor of its control socket.

1. It loads what its children need, in one thread: what is forked has no lock that nobody opens.
2. Each request over the socket is answered by a fork (`ChildProcess` has the messages). It looks at no child's work.
3. It ends when the other end of the socket is closed, by whatever death; its children end with it (PR_SET_PDEATHSIG).
"""

import errno
import gc
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NoReturn

from connectors.confinement import die_with, open_process
from connectors.fork_server.child_process import ANSWER, END

FDS: Final = 3
"""That come with a request."""
KIB: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Children:
    """What becomes of a fork: `run` has its control socket, and returns its exit code.

    `kept`: descriptors that it keeps of the server's. `about`: what the owner is told of each.
    `lead_groups`: each leads a session of its own, and what is left in its group ends with it.
    """

    run: Callable[[int], int]
    kept: frozenset[int] = frozenset()
    about: int = 0
    lead_groups: bool = False


def main(load: Callable[[], Children]) -> NoReturn:
    """Load, then fork until nobody asks any more. The control socket is the first argument of the program."""
    exit_code = 1
    try:
        # It stays open until the process ends: its owner takes the end of the socket for our death.
        control = socket.socket(fileno=int(sys.argv[1]))
        # An interrupt goes to the whole group; it is the parent that answers it, by ending us.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.close(open_process(os.getpid()))  # where it cannot be done it is said now, and not of a child
        gc.disable()  # nothing of what is loaded is garbage, but a quarter of the time goes into looking for some
        children = load()
        gc.freeze()  # pages of what is loaded stay shared
        gc.enable()
        sys.stdout.flush()  # or each child would write it again
        control.send(b"R", socket.MSG_NOSIGNAL)
        _serve(control, children)
        exit_code = 0
    except BaseException:  # noqa: BLE001  # printed before the socket closes, which is when it is read
        traceback.print_exc()
    finally:
        os._exit(exit_code)


def _serve(control: socket.socket, of: Children) -> None:
    ready = select.poll()
    ready.register(control, select.POLLIN)
    children: dict[int, tuple[int, socket.socket]] = {}
    """By the descriptor of its process: process id, and where its exit code is awaited."""
    while True:
        for fd, _ in ready.poll():
            if fd != control.fileno():
                ready.unregister(fd)
                os.close(fd)
                _tell_end(*children.pop(fd), of)
                continue
            try:
                _, fds, _, _ = socket.recv_fds(control, 1, FDS)
            except ConnectionResetError:  # closed, and not everything that we said was read
                return
            if len(fds) < FDS:
                return
            its_control, its_status, output = fds
            status = socket.socket(fileno=its_status)
            try:
                pid, pidfd = _fork(its_control, output, of)
            except OSError as exc:
                with status:
                    _tell(status, ANSWER.pack(exc.errno or errno.EAGAIN, 0, of.about))
                continue
            finally:
                os.close(its_control)
                os.close(output)
            children[pidfd] = pid, status
            ready.register(pidfd, select.POLLIN)
            _tell(status, ANSWER.pack(0, pid, of.about), pidfd)


def _tell_end(pid: int, status: socket.socket, of: Children) -> None:
    if of.lead_groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)  # before it is reaped: nobody else has the number yet
    _, how, used = os.wait4(pid, 0)
    with status:
        _tell(status, END.pack(os.waitstatus_to_exitcode(how), used.ru_maxrss * KIB))


def _tell(status: socket.socket, what: bytes, *fds: int) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # nobody waits for it any more
        socket.send_fds(status, [what], fds, socket.MSG_NOSIGNAL)


def _fork(its_control: int, output: int, of: Children) -> tuple[int, int]:
    """A child that does what it is told over `its_control`: its process id, and a descriptor of its process."""
    server = os.getpid()
    pid = os.fork()
    if pid == 0:
        _be_child(server, its_control, output, of)
    try:
        return pid, open_process(pid)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def _be_child(server: int, its_control: int, output: int, of: Children) -> NoReturn:
    code = 1
    try:
        for fd in (1, 2):
            os.dup2(output, fd)
        die_with(server)
        # It has nothing of its siblings, and cannot ask for children of its own.
        _close_all_but({0, 1, 2, its_control, *of.kept})
        if of.lead_groups:
            os.setsid()
        code = of.run(its_control)
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
