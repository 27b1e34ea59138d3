"""How a simulated process reaches a simulated server: the one place where calls pause, fail, hang and kill.

Three stores fail independently - object store, catalog, log - and the workflow engine as a fourth. A call may fail
before it has any effect, or afterwards (the reply is lost), or take long. During a call the process itself may die or
freeze.
"""

from collections.abc import Callable
from typing import Final, Literal, TypeVar

from tests.simulation.faults import Faults
from tests.simulation.kernel import Kernel, Killed, Process

T = TypeVar("T")
Server = Literal["object store", "catalog", "log", "engine"]
SLOW_S: Final = (1.0, 40.0)
FROZEN_S: Final = {"invocation": (5.0, 900.0), "worker": (5.0, 120.0), "relay": (5.0, 400.0)}


class Ports:
    """Calls from processes to servers."""

    def __init__(self, kernel: Kernel, faults: Faults) -> None:
        self.kernel = kernel
        self.faults = faults
        self.died: Callable[[Process], None] = lambda _process: None

    def call(self, server: Server, what: str, act: Callable[[], T], error: Callable[[str], Exception]) -> T:
        """Call a server. `error` makes the exception that the client raises when the call fails."""
        self.before(server, what, error)
        result = act()
        if self.kernel.trace is not None:
            self.kernel.trace(what)
        self.after(server, what, error)
        return result

    def before(self, server: Server, what: str, error: Callable[[str], Exception]) -> None:
        """The request: it may be delayed, and may not arrive."""
        self._mishap(what)
        self.kernel.pause()
        if self.faults.active:
            if server != "engine" and self.faults.strike(f"{server} slow"):
                self.kernel.sleep(self.faults.among(*SLOW_S))
            if self.faults.strike(f"{server} fails"):
                raise error(f"{what}: simulated outage")

    def after(self, server: Server, what: str, error: Callable[[str], Exception]) -> None:
        """The reply: the call has had its effect, but the caller may not learn of it."""
        if self.faults.active and self.faults.strike(f"{server} reply lost"):
            raise error(f"{what}: simulated loss of the reply")

    def _mishap(self, what: str) -> None:
        """Kill or freeze the process itself, as could happen anywhere else."""
        process = self.kernel.process
        if process.dead:
            raise Killed
        if not self.faults.active or process.kind not in FROZEN_S:
            return
        if self.faults.strike(f"{process.kind} killed"):
            self._say(f"{process.name} is killed before {what}")
            self.died(process)
            self.kernel.kill(process)
        if self.faults.strike(f"{process.kind} frozen"):
            seconds = self.faults.among(*FROZEN_S[process.kind])
            self._say(f"{process.name} is frozen for {seconds:.0f} s before {what}")
            self.kernel.freeze(process, seconds)

    def _say(self, text: str) -> None:
        if self.kernel.trace is not None:
            self.kernel.trace(text)
