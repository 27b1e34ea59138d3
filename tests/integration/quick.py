"""What workers are made quick by, and killed at a point by: their own code, in a module of the tests."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

QUICK_S: Final = 0.2
"""Between two commits, from a row to its file, between two reports: seconds where the product has whole ones."""
DIES_AT: Final = "TESTS_DIE_AT"
"""Environment variable: the point at which a worker is killed."""


def quick(config: Any, *intervals: str) -> Any:
    """The configuration with these intervals cut short."""
    return replace(config, commit_interval_s=QUICK_S, **dict.fromkeys(intervals, QUICK_S))


def reached(point: str) -> None:
    """Be killed, if that is the point. Once: whoever is started again in the same home lives."""
    died = Path(os.environ["MUSTER_HOME"]) / "died"
    if os.environ.get(DIES_AT) == point and not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)
