"""Makes workers quick, and kills them at a point: hooks in a test module around the product's code."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

QUICK_S: Final = 0.2
"""Commit interval, time from a row to its file, and report interval: fractions of the product's whole seconds."""
DIES_AT: Final = "TESTS_DIE_AT"
"""Environment variable: the point at which a worker is killed."""


def quick(config: Any, *intervals: str) -> Any:
    """The configuration with these intervals shortened."""
    return replace(config, commit_interval_s=QUICK_S, **dict.fromkeys(intervals, QUICK_S))


def reached(point: str) -> None:
    """Kill this process if `point` is the chosen one. Only once: the next process in the same home survives."""
    died = Path(os.environ["MUSTER_HOME"]) / "died"
    if os.environ.get(DIES_AT) == point and not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)
