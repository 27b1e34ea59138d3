"""The worker of a running stack, whole: chunks in its topic, changes out, rows into the archive's table."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil
import pyarrow as pa

from benchmarks.measure import Measured
from benchmarks.segments.events import FIRST, SPAN_US, TENANT, write_events
from benchmarks.segments.topics import send_chunks
from orchestration.context import Context
from orchestration.local import processes
from orchestration.operations.segments import create, read_rule
from orchestration.settings import Settings
from schemas.ids import JobId
from schemas.topics import EVENTS

SEGMENT: Final = "carts"
POLL_S: Final = 0.1
TIMEOUT_S: Final = 1800


def whole_worker(settings: Settings, users: pa.StringArray, events: int, scratch: Path) -> tuple[Measured, int]:
    """From the first chunk sent until the worker says that it has taken the last; and how many members there are.

    The events end now: what counts is what happened in the last three days, as the worker's clock says.
    """
    context = Context(settings)
    context.audiences.add_tenant(TENANT, 1)
    segment = create(context, TENANT, SEGMENT, read_rule(FIRST, None), "bench").segment_id
    _wait(lambda: len(context.segments.partitions(segment)) == settings.partitions)
    before = _taken(context, segment)
    begin_us = time.time_ns() // 1000 - SPAN_US
    messages = write_events(scratch / "worker-events", users, events, partitions=settings.partitions, begin_us=begin_us)
    process = _process(settings)
    used = sum(process.cpu_times()[:2])
    began = time.perf_counter()
    send_chunks(settings.kafka_bootstrap, EVENTS, messages)
    _wait(lambda: _taken(context, segment) - before >= len(messages.ends))
    measured = Measured(
        rows=messages.rows,
        wall_s=time.perf_counter() - began,
        cpu_s=sum(process.cpu_times()[:2]) - used,
        peak_bytes=process.memory_info().rss,
    )
    return measured, sum(one.members for one in context.segments.partitions(segment).values())


def _taken(context: Context, segment: JobId) -> int:
    return sum(one.events for one in context.segments.partitions(segment).values())


def _process(settings: Settings) -> psutil.Process:
    (found,) = (p for p in processes.marked(settings.home) if "orchestration.segment_worker" in " ".join(p.cmdline()))
    return found


def _wait(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not holds():
        if time.monotonic() > deadline:
            raise RuntimeError(f"the worker has not come that far after {TIMEOUT_S} s")
        time.sleep(POLL_S)
