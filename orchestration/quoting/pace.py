"""Seconds that a stage takes. Pure arithmetic; every assumption is in a docstring here, and in docs/capacity.md."""

from math import ceil
from typing import Final

from orchestration.quoting.rates import StageRate

US: Final = 1e-6


def seconds(rate: StageRate, rows: float, vcpu: float) -> float:
    """Of some rows on some vCPU: as measured, or longer where there are fewer of them than the measurement kept busy.

    More vCPU make nothing faster than it was measured: that would be a guess. A vCPU counts as a measured core.
    """
    return rows * US * max(rate.wall_us, rate.cpu_us / vcpu)


def workers_seconds(rate: StageRate, rows: float, *, partitions: int, workers: int, vcpu: float) -> float:
    """Of rows in equal partitions, by workers that share them: the one with the most partitions is the last.

    Workers do not slow each other down, since each has its own vCPU; what they share is Kafka and S3.
    """
    largest = ceil(partitions / workers) / partitions
    return seconds(rate, rows * largest, vcpu)


def held_up(workers_s: float, rows: float, backlog_rows: float) -> float:
    """Seconds until an importer has sent its last row, when only the workers limit it.

    It may be `backlog_rows` ahead of them, then it waits for them.
    """
    return workers_s * max(0.0, 1.0 - backlog_rows / rows) if rows else 0.0
