"""`python -m orchestration.entrypoints.foreground MODULE [ARGUMENT...]`: runs a module at a terminal.

Ctrl-C ends it without a traceback, even while it is loading; a module with an orderly shutdown has its own handler.
"""

import runpy
import signal
import sys


def main() -> None:
    """Become the module."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # ignored in a shell's background job
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
