"""The relay: its real threads, each a task."""

from typing import Any

from orchestration.context import Context
from orchestration.control import wiring
from orchestration.control.table import jobs_lane
from tests.simulation.kernel import Kernel, Process

SLOWER = 50
"""A round of the relay costs milliseconds of real time: it makes one in about 25 seconds, not in half a second."""


class Event:
    """`threading.Event` in virtual time. Nobody sets the one that stops the relay: it is killed."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def is_set(self) -> bool:
        return False

    def set(self) -> None:
        pass

    def clear(self) -> None:
        pass

    def wait(self, timeout_s: float) -> bool:
        self._kernel.sleep(SLOWER * timeout_s * self._kernel.random.uniform(0.5, 2.0))
        return False


def run_relay(context: Context, kernel: Kernel) -> None:
    """Runs until its process is killed, or a thread of it has failed."""
    stop: Any = Event(kernel)
    changed: Any = Event(kernel)
    process: Process = kernel.process
    kernel.spawn(process, "progress", wiring.progress(context, stop, changed).run)
    jobs_lane(context).run(stop, changed)
