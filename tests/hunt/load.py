"""Processes that keep the processors busy and end with the hunt, even if it is killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from orchestration.local import tether

BUSY: Final = "while True: pass"


def tethered(command: Sequence[str], signal_number: signal.Signals) -> list[str]:
    """Wrap a command so that it receives the signal when this process ends."""
    return [sys.executable, "-I", "-S", tether.__file__, str(int(signal_number)), str(os.getpid()), *command]


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Run this many processes that never wait."""
    with ExitStack() as running:
        for _ in range(processes):
            command = tethered([sys.executable, "-I", "-S", "-c", BUSY], signal.SIGKILL)
            process = running.enter_context(subprocess.Popen(command, stdin=subprocess.DEVNULL))
            running.callback(process.kill)
        yield
