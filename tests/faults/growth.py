"""What must not grow while imports come and go: memory and open files of long-lived processes, files in the home."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from tests.faults.stack import FaultedStack

WATCHED: Final = ("relay", "worker-1", "worker-2", "segment-worker-1")
"""Long-lived processes. The engine is left out: the local one keeps every execution in memory."""
SLACK_BYTES: Final = 48 * 2**20
SLACK_SHARE: Final = 1.15
LEAST: Final = 8
SLACK_FILES: Final = 24
"""Connection pools grow and shrink."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """At the end of a turn: bytes of memory and open files of each watched process, files in the home directory."""

    turn: int
    memory: Mapping[str, int]
    open_files: Mapping[str, int]
    files: int


def measure(stack: FaultedStack, number: int) -> Measure:
    """Measure now. A process that is just being restarted has no figure."""
    processes = {name: psutil.Process(pid) for name in WATCHED if (pid := stack.pid(name)) is not None}
    own = (f for f in stack.settings.home.rglob("*") if f.is_file() and not _of_servers(stack, f))
    return Measure(
        turn=number,
        memory={name: process.memory_info().rss for name, process in processes.items()},
        open_files={name: process.num_fds() for name, process in processes.items()},
        files=sum(1 for _ in own),
    )


def _of_servers(stack: FaultedStack, file: Path) -> bool:
    """True for data of the servers, which grows with what is published, and for logs and traces, which are kept."""
    return file.relative_to(stack.settings.home).parts[0] in {"kafka", "s3", "logs", "faults"}


def grown(measures: Sequence[Measure]) -> list[str]:
    """What exceeds its value in the second quarter by more than its slack in the last. The first quarter warms up.

    Fewer than `LEAST` measures are all of warming up, and prove nothing.
    """
    if len(measures) < LEAST:
        return []
    _, early, _, late = quarters(measures)
    found = []
    for name in WATCHED:
        before, after = (_median(m.memory.get(name) for m in part) for part in (early, late))
        if after > before * SLACK_SHARE + SLACK_BYTES:
            found.append(f"{name} has grown from {before / 2**20:.0f} to {after / 2**20:.0f} MiB")
        before, after = (_median(m.open_files.get(name) for m in part) for part in (early, late))
        if after > before + SLACK_FILES:
            found.append(f"{name} has {after:.0f} open files, it had {before:.0f}")
    before, after = (_median(m.files for m in part) for part in (early, late))
    if after > before + SLACK_FILES:
        found.append(f"{after:.0f} files in the home directory, there were {before:.0f}")
    return found


def table(measures: Sequence[Measure]) -> list[tuple[str, ...]]:
    """For each watched process: name, median MiB in each quarter, and median open files in quarters 2 and 4."""
    return [
        (
            name,
            *(f"{_median(m.memory.get(name) for m in part) / 2**20:.0f}" for part in quarters(measures)),
            " - ".join(f"{_median(m.open_files.get(name) for m in part):.0f}" for part in quarters(measures)[1::2]),
        )
        for name in WATCHED
    ]


def quarters(measures: Sequence[Measure]) -> list[Sequence[Measure]]:
    """Four parts of equal length, except that the third takes the remainder."""
    size = max(1, len(measures) // 4)
    return [measures[:size], measures[size : 2 * size], measures[2 * size : -size], measures[-size:]]


def _median(values: Iterable[int | None]) -> float:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else 0.0
