"""The whole worker of a running stack: chunks in its topic, changes out, rows into the archive's tables."""

import shutil
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pyarrow as pa
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.measure import KIB, Measured, peak_kib
from benchmarks.parts import long_sessions, part, stopped
from benchmarks.segments.events import SPAN_US, TENANT, rules, write_events
from benchmarks.segments.topics import send_chunks, send_json
from orchestration.composition.context import Context
from orchestration.local import stack
from orchestration.operations.segments import rule_of
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.platform.settings import Settings
from schemas.ids import AudienceName, JobId
from schemas.metrics import ACTIVITY_ROWS
from schemas.topics import EVENTS

WORKER: Final = "orchestration.entrypoints.segment_worker"
POLL_S: Final = 0.1
TIMEOUT_S: Final = 1800


def whole_worker(
    users: pa.StringArray, events: int, number: int, scratch: Path, *, single: bool = False
) -> tuple[Measured, int]:
    """Measure the worker of a fresh stack with `number` rules on a full topic, until it has taken the last event.

    Also returns the number of members of all segments. `single`: send one JSON record per event, like an ordinary
    producer. The events end now, because the worker's clock counts only the last days.
    """
    folder = scratch / f"worker-{number}-{'single' if single else 'chunks'}"
    settings = stack.up(folder / "home", free_ports=True, env=long_sessions())
    try:
        return _measured(settings, users, events, number, folder, single=single)
    finally:
        stack.down(settings.home)
        shutil.rmtree(folder)


def _measured(
    settings: Settings, users: pa.StringArray, events: int, number: int, folder: Path, *, single: bool
) -> tuple[Measured, int]:
    context = Context(settings)
    context.audiences.add_tenant(TENANT, 1)
    for name, rule in rules(number).items():
        context.segments.create(
            TENANT, AudienceName(name), rule_of(rule, None), new_id=fresh_id(), author="bench", now_ms=now_ms()
        )
    segments = [overview.segment.segment_id for overview in context.segments.overviews(TENANT)]
    _wait(lambda: all(len(context.segments.partitions(one)) == settings.partitions for one in segments))
    begin_us = time.time_ns() // 1000 - SPAN_US
    broker, records = settings.kafka_bootstrap, events
    if not single:
        messages = write_events(folder / "events", users, events, partitions=settings.partitions, begin_us=begin_us)
        records = len(messages.ends)
    process = part(settings, WORKER)
    used = sum(process.cpu_times()[:2])
    with stopped(process):
        if single:
            send_json(broker, EVENTS, users, events, begin_us=begin_us, tenant=TENANT)
        else:
            send_chunks(broker, EVENTS, messages)
    began = time.perf_counter()
    _wait(lambda: _taken(settings) >= events)
    measured = Measured(
        rows=events,
        wall_s=time.perf_counter() - began,
        cpu_s=sum(process.cpu_times()[:2]) - used,
        peak_bytes=peak_kib(process.pid) * KIB,
    )
    _wait(lambda: _reported(context, segments[0]) >= records)
    members = sum(p.members for one in segments for p in context.segments.partitions(one).values())
    return measured, members


def _taken(settings: Settings) -> int:
    """Events taken, according to the worker's metric."""
    address = (settings.home / "metrics" / "segment-worker-1").read_text(encoding="utf-8").strip()
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=60) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    samples = (sample for family in families for sample in family.samples if sample.name == ACTIVITY_ROWS.name)
    return int(sum(sample.value for sample in samples if sample.labels["topic"] == EVENTS))


def _reported(context: Context, segment: JobId) -> int:
    """Sum of the offsets that the catalog has for a segment, over all partitions. It lags by a few seconds."""
    return sum(one.events for one in context.segments.partitions(segment).values())


def _wait(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not holds():
        if time.monotonic() > deadline:
            raise RuntimeError(f"the worker has not come that far after {TIMEOUT_S} s")
        time.sleep(POLL_S)
