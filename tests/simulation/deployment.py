"""What every simulated deployment has: a kernel, ports, an object store, and processes that a supervisor restarts."""

import random
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.simulation.faults import Faults
from tests.simulation.kernel import Kernel, Process
from tests.simulation.ports import Ports
from tests.simulation.stores import ObjectStore

if TYPE_CHECKING:
    from tests.simulation.patching import Holder

STARTED: Final = datetime(2026, 1, 1, tzinfo=UTC)
RESTART_S: Final = (1.0, 20.0)
LOOK_EVERY: Final = 200
"""Steps between two looks at whether everything has come to rest."""


class Deployment:
    """Everything of one schedule."""

    def __init__(self, seed: int, faults: Faults, temp: Path, holder: "Holder[Any]", *, skew_ms: int) -> None:
        self.seed = seed
        self._holder = holder
        holder.world = self
        self._skew_ms = skew_ms
        self.faults = faults
        self.temp = temp
        self.kernel = Kernel(seed, int(STARTED.timestamp()) * 1_000_000)
        self.ports = Ports(self.kernel, faults)
        self.store = ObjectStore(self.ports)

    @property
    def published(self) -> int:
        """How much readers have received."""
        raise NotImplementedError

    def at_rest(self) -> bool:
        """True if nothing is left to do."""
        raise NotImplementedError

    def finished(self) -> None:
        """Judge the outcome, at rest and without faults. Raises any violation."""
        raise NotImplementedError

    # --- processes ---------------------------------------------------------------------------------------------------

    def new_process(self, name: str, kind: str) -> Process:
        """Create a process, whose clock may be wrong."""
        process = Process(name=name, kind=kind)
        if self.faults.strike("clock skew"):
            process.skew_ms = int(self.faults.among(-self._skew_ms, self._skew_ms))
        return process

    def _keep_running(self, name: str, kind: str, run: Callable[[Process], object]) -> None:
        """A supervisor: restarts whatever dies a little later."""

        def supervise() -> None:
            number = 0
            while True:
                number += 1
                process = self.new_process(f"{name} ({number})", kind)
                task = self.kernel.spawn(process, kind, partial(run, process))
                while not process.dead and not task.greenlet.dead:
                    self.kernel.sleep(7.0)
                self.kernel.sleep(self.faults.among(*RESTART_S))

        self.kernel.spawn(self.kernel.outside, f"supervisor of {name}", supervise)

    def luck(self, process: Process) -> random.Random:
        """Randomness for the settings of a process."""
        return random.Random(f"{process.name} {self.seed}")

    def say(self, text: str) -> None:
        """Print a line of the history."""
        print(f"{self.kernel.clock()}  {self.kernel.process.name:<28} {text}")  # noqa: T201

    # --- the schedule ------------------------------------------------------------------------------------------------

    def run(self, faulty_steps: int, calm_steps: int) -> None:
        """Run with faults for a while, then without; at the end the outcome is judged. Raises any violation."""
        used = self.kernel.steps + faulty_steps
        self.kernel.run(lambda: self.kernel.steps >= used or self._look_at_rest(), max_steps=faulty_steps + 1)
        self.faults.active = False
        for process in self.kernel.processes():
            process.frozen_until_us = 0
            process.skew_ms = 0
        self.kernel.run(self._look_at_rest, max_steps=calm_steps)
        self.finished()

    def close(self) -> None:
        """Stop everything in this world."""
        self.kernel.close()
        self._holder.world = None

    def _look_at_rest(self) -> bool:
        return self.kernel.steps % LOOK_EVERY == 0 and self.at_rest()
