"""What a stack costs that has nothing to do: processor and memory of each part, and how promptly it takes up work.

The stack is warm: a segment is followed, and an import has ended. Processor time is what the parts spend, as a share
of one core, so it depends little on how busy the machine is.
"""

import time
from dataclasses import dataclass
from typing import Final

import psutil

from benchmarks.generate import generate_csv
from benchmarks.import_bench import TENANT, put_source, whole_import
from benchmarks.measure import Measured, Result
from benchmarks.segments import latency
from benchmarks.setting import Setting
from orchestration.composition.context import Context
from orchestration.local import stack
from orchestration.local.parts import KAFKA, SEGMENT_WORKER, WORKER
from orchestration.platform.settings import Settings

ROWS: Final = 10_000
SETTLE_S: Final = 60
"""With the three minutes of the measurement long enough for the processes of functions to end."""
EVENTS: Final = 8
EVENTS_EVERY_S: Final = 3.0
GOAL_CPU: Final = 0.03
"""Share of a core of everything but the broker."""
GOAL_MIB: Final = 250
"""Resident memory of a worker."""
GOAL_ALL_MIB: Final = 1300
"""All parts together, by their own shares."""
GOAL_IMPORT_S: Final = 1.5
GOAL_EVENT_S: Final = 1.0
MIB: Final = 1024 * 1024
SUPERVISOR: Final = "supervisor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Processor seconds spent so far, and memory now. `pss_bytes` counts a page of n processes as an nth."""

    cpu_s: float
    rss_bytes: int
    pss_bytes: int


def run(setting: Setting) -> list[Result]:
    """Warm the stack up, let it rest, measure; then an import and single events."""
    context = Context(setting.settings)
    context.audiences.add_tenant(TENANT, 1)
    csv = setting.scratch / "few.csv"
    generate_csv(csv, ROWS)
    key = put_source(context, csv)
    latency.latencies(setting.settings, 0, samples=EVENTS)
    whole_import(context, key, ROWS)
    time.sleep(SETTLE_S)
    watched = _watch(setting.settings, setting.idle_s)
    idle = [part_result(*line) for line in watched]
    memory = memory_of_all([after for _, _, after, _ in watched])
    imported, *_ = whole_import(context, key, ROWS)
    return [*idle, beside_the_broker(idle), memory, _import(imported), _events(setting.settings)]


def _watch(settings: Settings, window_s: float) -> list[tuple[str, Usage, Usage, float]]:
    """Name, usage before and after, seconds in between of each part that is a process."""
    status = stack.status(settings)
    pids = {part.name: part.pid for part in status.parts if part.pid is not None}
    pids[SUPERVISOR] = status.supervisor_pid or 0
    before, began = {name: _usage(name, pid) for name, pid in pids.items()}, time.monotonic()
    time.sleep(window_s)
    return [(name, before[name], _usage(name, pid), time.monotonic() - began) for name, pid in pids.items()]


def _usage(name: str, pid: int) -> Usage:
    """Usage of a part with its children; those of the supervisor are parts of their own."""
    part = psutil.Process(pid)
    processes = [part] if name == SUPERVISOR else [part, *part.children(recursive=True)]
    memory = [process.memory_full_info() for process in processes]
    return Usage(
        cpu_s=sum(sum(process.cpu_times()[: 2 if name == SUPERVISOR else 4]) for process in processes),
        rss_bytes=max(one.rss for one in memory),
        pss_bytes=sum(one.pss for one in memory),
    )


def part_result(name: str, before: Usage, after: Usage, window_s: float) -> Result:
    """What a part spent between two measurements."""
    spent = after.cpu_s - before.cpu_s
    is_worker = name.startswith((WORKER, SEGMENT_WORKER))
    return Result(
        benchmark="idle",
        label=name,
        best=Measured(rows=round(window_s), wall_s=window_s, cpu_s=spent, peak_bytes=after.rss_bytes),
        target=f"< {GOAL_MIB} MiB" if is_worker else "",
        met=after.rss_bytes < GOAL_MIB * MIB if is_worker else None,
        note=f"{spent / window_s:.2%} of a core, PSS {after.pss_bytes / MIB:.0f} MiB",
    )


def beside_the_broker(parts: list[Result]) -> Result:
    """The parts together, without the broker."""
    counted = [part.best for part in parts if part.label != KAFKA.name]
    wall_s, spent = counted[0].wall_s, sum(one.cpu_s for one in counted)
    peak = max(one.peak_bytes for one in counted)
    return Result(
        benchmark="idle",
        label="all but the broker",
        best=Measured(rows=counted[0].rows, wall_s=wall_s, cpu_s=spent, peak_bytes=peak),
        target=f"< {GOAL_CPU:.0%}",
        met=spent / wall_s < GOAL_CPU,
        note=f"{spent / wall_s:.2%} of a core",
    )


def memory_of_all(parts: list[Usage]) -> Result:
    """The memory of the parts together, in which a page that several of them share counts once."""
    total = sum(part.pss_bytes for part in parts)
    return Result(
        benchmark="idle",
        label="memory of all parts",
        best=Measured(rows=0, wall_s=0.0, cpu_s=0.0, peak_bytes=total),
        target=f"< {GOAL_ALL_MIB:,} MiB",
        met=total < GOAL_ALL_MIB * MIB,
    )


def _import(best: Measured) -> Result:
    return Result(
        benchmark="idle",
        label=f"then an import of {ROWS:,} rows",
        best=best,
        target=f"< {GOAL_IMPORT_S:g} s",
        met=best.wall_s < GOAL_IMPORT_S,
    )


def _events(settings: Settings) -> Result:
    """Single events, each after a pause."""
    seconds, _ = latency.latencies(settings, 0, samples=EVENTS, every_s=EVENTS_EVERY_S)
    return Result(
        benchmark="idle",
        label="then single events",
        best=Measured(rows=len(seconds), wall_s=sum(seconds), cpu_s=0.0, peak_bytes=0),
        target=f"< {GOAL_EVENT_S:g} s",
        met=seconds[-1] < GOAL_EVENT_S,
        note=", ".join(f"{one * 1000:.0f}" for one in seconds) + " ms",
    )
