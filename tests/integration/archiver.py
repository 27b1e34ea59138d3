"""`python -m tests.integration.archiver POINT`: the archive's committer as in the control plane, killed at POINT."""

import os
import signal
import sys
import threading
from typing import Any, Final

from connectors.lake.archive import ActivityArchive
from orchestration.composition import control_plane
from orchestration.composition.context import Context
from orchestration.control import archive_consumer as archiving
from orchestration.control.producer import ControlPlaneProducer
from orchestration.platform.settings import Settings
from schemas.counters import Counters
from tests.integration.quick import QUICK_S

POINTS: Final = ("before the append", "after the append", "before telling", "after telling")


def main(point: str) -> None:
    """Run until killed."""
    whom: type[ActivityArchive | ControlPlaneProducer]
    whom, name = (ActivityArchive, "append") if point.endswith("append") else (ControlPlaneProducer, "send")
    called = getattr(whom, name)

    def call(*arguments: Any, **named: Any) -> Any:
        if point.startswith("before"):
            os.kill(os.getpid(), signal.SIGKILL)
        called(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(whom, name, call)
    vars(archiving)["LINGER_S"] = QUICK_S
    consumer = control_plane.archive_consumer(Context(Settings.load()), threading.Event(), Counters())
    consumer._reported_ms = 2**62  # the repeated announcement of ends should not kill it
    consumer.run()


if __name__ == "__main__":
    main(sys.argv[1])
