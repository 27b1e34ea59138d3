"""Measuring: a function in a process of its own, its time, processor time and largest memory; and the machine."""

import importlib.metadata
import multiprocessing
import os
import platform
import resource
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from connectors.sources.fork_server import PARSERS

KIB: Final = 1024
PACKAGES: Final = ("confluent-kafka", "duckdb", "fastavro", "numba", "numpy", "pyarrow", "pyiceberg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run. `cpu_s` counts its child processes too; `peak_bytes` is the larger of its own and any child's peak."""

    rows: int
    wall_s: float
    cpu_s: float
    peak_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One line of the report: the best run of something, compared with `baseline` (the label of another line).

    `goal` is how many times the rate of the baseline it should reach; none where there is nothing to reach. Goals of
    another kind are in words (`target`), with the verdict in `met`. `stored_bytes`: what the rows take where
    they were written to.
    """

    benchmark: str
    label: str
    best: Measured
    baseline: str | None = None
    goal: float | None = None
    target: str = ""
    met: bool | None = None
    note: str = ""
    stored_bytes: int | None = None

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.best.rows / self.best.wall_s

    def times(self, rates: Mapping[str, float]) -> float | None:
        """Its rate in those of its baseline; `rates` by label."""
        return self.rate / rates[self.baseline] if self.baseline else None

    def verdict(self, rates: Mapping[str, float]) -> bool | None:
        """Whether the goal is met; none without one."""
        times = self.times(rates)
        return times >= self.goal if times is not None and self.goal is not None else self.met

    def as_record(self, rates: Mapping[str, float]) -> dict[str, Any]:
        """Plain JSON data."""
        return asdict(self) | {
            "rows_per_s": round(self.rate),
            "cpu_us_per_row": self.best.cpu_s / self.best.rows * 1e6,
            "times_baseline": self.times(rates),
            "met": self.verdict(rates),
        }


Work = Callable[..., int]
"""Does the work and returns how many rows it did. A function of a module, since it runs in another process."""


Prepare = Callable[[], None]
"""What the process does before the clock runs: what imports of a library are to a baseline. Also of a module."""


def best_of(repeat: int, work: Work, *arguments: object, prepare: Prepare | None = None) -> Measured:
    """The fastest of some runs, each in a fresh process, so that none profits from the one before."""
    return min((_isolated(work, arguments, prepare) for _ in range(repeat)), key=lambda run: run.wall_s)


def _isolated(work: Work, arguments: tuple[object, ...], prepare: Prepare | None) -> Measured:
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(send, work, arguments, prepare))
    process.start()
    send.close()
    try:
        measured: Measured = receive.recv()
    except EOFError:
        process.join()
        raise RuntimeError(f"{work.__name__} ended with exit code {process.exitcode}") from None
    process.join()
    return measured


def _run(send: Any, work: Work, arguments: tuple[object, ...], prepare: Prepare | None) -> None:
    if prepare is not None:
        prepare()
    cpu_before = spent_cpu_s()
    began = time.perf_counter()
    rows = work(*arguments)
    wall_s = time.perf_counter() - began
    cpu_s = spent_cpu_s() - cpu_before
    PARSERS.stop()  # only what has ended tells its peak
    peak = max(peak_kib(os.getpid()), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    send.send(Measured(rows=rows, wall_s=wall_s, cpu_s=cpu_s, peak_bytes=peak * KIB))


def peak_kib(pid: int) -> int:
    """Not `ru_maxrss`, which a spawned process takes over from the one that spawned it (setmax_mm_hiwater_rss).

    0 of one that has ended and waits for its parent. Raises `FileNotFoundError` where there is none.
    """
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def spent_cpu_s() -> float:
    """Processor seconds of this process, of its children, and of what these have waited for."""
    this = psutil.Process()
    used = 0.0
    for process in (this, *this.children()):
        with suppress(psutil.NoSuchProcess):  # one that has just ended: the next time it is among ours
            used += sum(process.cpu_times()[:4])
    return used


def machine() -> dict[str, object]:
    """What the numbers depend on."""
    cpuinfo = Path("/proc/cpuinfo")
    models = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load_average": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }
