"""Seconds of a stage. Pure arithmetic; every assumption is in a docstring here, and in docs/capacity.md."""

from math import ceil
from typing import Final

from orchestration.quoting.rates import StageRate

US: Final = 1e-6


def seconds(rate: StageRate, rows: float, vcpu: float) -> float:
    """Seconds for `rows` on `vcpu`: as measured, or longer with fewer vCPU than the measurement kept busy.

    More vCPU never make a stage faster than measured: that would be a guess. A vCPU counts as a measured core.
    """
    return rows * US * max(rate.wall_us, rate.cpu_us / vcpu)


def workers_seconds(rate: StageRate, rows: float, *, partitions: int, workers: int, vcpu: float) -> float:
    """Seconds for rows in equal partitions shared by workers: the worker with the most partitions finishes last.

    Workers do not slow each other down, since each has its own vCPU; they share only Kafka and S3.
    """
    largest = ceil(partitions / workers) / partitions
    return seconds(rate, rows * largest, vcpu)


def backpressure_s(workers_s: float, rows: float, backlog_rows: float) -> float:
    """Seconds until an importer has sent its last row, if only the workers limit it.

    It may be `backlog_rows` ahead of them, then it waits for them.
    """
    return workers_s * max(0.0, 1.0 - backlog_rows / rows) if rows else 0.0
