"""Measures a function in its own process: time, processor time and peak memory; and describes the machine."""

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
    """One run. `cpu_s` includes child processes; `peak_bytes` is the larger of its own and any child's peak."""

    rows: int
    wall_s: float
    cpu_s: float
    peak_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One line of the report: the best run of something, compared with `baseline` (the label of another line).

    `goal` is the multiple of the baseline's rate to reach; None if there is no such goal. Other goals are given in
    words (`target`), with the verdict in `met`. `stored_bytes`: size of the rows at their destination.
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
        """Rows per second."""
        return self.best.rows / self.best.wall_s

    def times(self, rates: Mapping[str, float]) -> float | None:
        """Its rate as a multiple of its baseline's. None without a baseline. `rates`: by label."""
        return self.rate / rates[self.baseline] if self.baseline else None

    def verdict(self, rates: Mapping[str, float]) -> bool | None:
        """True if the goal is met; None without a goal."""
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
"""Does the work and returns the number of rows done. A module-level function, since it runs in another process."""


Prepare = Callable[[], None]
"""Runs in the process before the clock starts, like a baseline's library imports. Also a module-level function."""


def best_of(repeat: int, work: Work, *arguments: object, prepare: Prepare | None = None) -> Measured:
    """The fastest of several runs, each in a fresh process, so that no run profits from an earlier one."""
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
    PARSERS.stop()  # a child's peak is known only after it has ended
    peak = max(peak_kib(os.getpid()), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    send.send(Measured(rows=rows, wall_s=wall_s, cpu_s=cpu_s, peak_bytes=peak * KIB))


def peak_kib(pid: int) -> int:
    """Peak resident KiB, but not from `ru_maxrss`, which a spawned process inherits (setmax_mm_hiwater_rss).

    0 for a process that has ended and waits for its parent. Raises `FileNotFoundError` for a missing process.
    """
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def spent_cpu_s() -> float:
    """Processor seconds of this process, of its children, and of the children that any of these have waited for."""
    this = psutil.Process()
    used = 0.0
    for process in (this, *this.children()):
        with suppress(psutil.NoSuchProcess):  # it has just ended: next time its seconds are among ours
            used += sum(process.cpu_times()[:4])
    return used


def machine() -> dict[str, object]:
    """A description of the machine: everything that the numbers depend on."""
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
