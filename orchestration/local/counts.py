"""Wanted counts of the parts that follow the work: the engine writes them, the supervisor starts and stops processes.

A part that the file does not name has all of its processes, as every part has without the file.
"""

import json
from collections.abc import Mapping
from typing import Final

from orchestration.local.home import Home
from orchestration.operations.scaling import limits_of
from orchestration.platform.settings import Settings
from segmentation.scaling import Scaled

COUNTS_FILE: Final = "counts.json"


def read_counts(home: Home) -> dict[Scaled, int]:
    """The counts as last written; none if there is no file, or one that cannot be read."""
    try:
        record = json.loads((home.path / COUNTS_FILE).read_text(encoding="utf-8"))
        return {part: int(record[part]) for part in Scaled if part in record}
    except (OSError, ValueError, TypeError):
        return {}


def write_counts(home: Home, counts: Mapping[Scaled, int]) -> None:
    """Replace the file atomically. Only for the engine, one call at a time."""
    path = home.path / COUNTS_FILE
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(json.dumps({str(part): count for part, count in counts.items()}), encoding="utf-8")
    temporary.replace(path)


def first_counts(settings: Settings) -> dict[Scaled, int]:
    """The counts with which a stack starts; none if they are fixed.

    The control plane starts, and then has the workers that earlier work needs.
    """
    limits = limits_of(settings)
    if limits.fixed:
        return {}
    workers, segment_workers = limits.workers.least, limits.segment_workers.least
    feeders = limits.feeders.least
    return {Scaled.WORKER: workers, Scaled.SEGMENT_WORKER: segment_workers, Scaled.FEEDER: feeders, Scaled.RELAY: 1}


def begin_counts(home: Home, settings: Settings) -> None:
    """Only for the supervisor, before it starts any part. Fixed counts need no file."""
    if counts := first_counts(settings):
        write_counts(home, counts)
    else:
        (home.path / COUNTS_FILE).unlink(missing_ok=True)


def is_wanted(part: str, counts: Mapping[Scaled, int]) -> bool:
    """Whether a process should run: `worker-2` does if at least two workers are wanted, `relay` if any is."""
    kind, _, number = part.rpartition("-")
    for scaled, count in counts.items():
        if part == scaled:
            return count >= 1
        if kind == scaled and number.isdecimal():
            return int(number) <= count
    return True
