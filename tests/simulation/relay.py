"""The control plane: its real threads, each as a task."""

from typing import Any

from orchestration.composition import control_plane
from orchestration.composition.context import Context
from orchestration.composition.control_lanes import jobs_lane
from orchestration.control.worker_groups import WorkerGroups
from schemas.counters import Counters
from tests.simulation.kernel import Kernel, Process

SLOWER = 50
"""A round of the control plane costs milliseconds of real time, so it runs about every 25 seconds, not every 0.5."""


class Event:
    """`threading.Event` in virtual time. The one that stops the control plane is never set: its process is killed."""

    def __init__(self, kernel: Kernel, slower: float = SLOWER) -> None:
        self._kernel = kernel
        self._slower = slower

    def is_set(self) -> bool:
        return False

    def set(self) -> None:
        pass

    def clear(self) -> None:
        pass

    def wait(self, timeout_s: float) -> bool:
        self._kernel.sleep(self._slower * timeout_s * self._kernel.random.uniform(0.5, 2.0))
        return False


def run_relay(context: Context, kernel: Kernel) -> None:
    """Run until the process is killed or one of its threads has failed."""
    stop: Any = Event(kernel)
    changed: Any = Event(kernel)
    process: Process = kernel.process
    kernel.spawn(process, "progress", control_plane.progress(context, stop, changed).run)
    jobs_lane(context, WorkerGroups.of(context.settings), Counters()).run(stop, changed)
