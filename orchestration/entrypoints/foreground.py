"""`python -m orchestration.entrypoints.foreground MODULE [ARGUMENT...]`: runs a module for a person at a terminal.

Ctrl-C ends it without a traceback, also while it still loads; a module that ends in order has a handler of its own.
"""

import runpy
import signal
import sys


def main() -> None:
    """Become the module."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as it is for a shell's job in the background
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
