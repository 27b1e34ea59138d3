"""Start a program that dies with its parent: `python -I -S tether.py SIGNAL PARENT_PID PROGRAM ARG...`.

A file of its own, without imports of Muster, because it runs between fork and exec of each child: Linux's
PR_SET_PDEATHSIG survives exec, and setting it in a `preexec_fn` is not safe in a process with threads. The signal is
sent when the *thread* that started the child ends, so start children from a thread that outlives them. On other
systems than Linux this only executes the program; the next supervisor finds what was left behind.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
"""prctl(2)"""


def main() -> None:
    """Tie this process to its parent, then become the program."""
    signal_number, parent, program = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the line above
            sys.exit(1)
    os.execvp(program[0], program)  # noqa: S606 - the point of this file


if __name__ == "__main__":
    main()
