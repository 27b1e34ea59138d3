"""Whole imports of several sizes, and of one size with several workers: speed, and memory bounded and flat.

Each import runs on its own stack, so that no process carries memory over from another size, and no disk its files.
"""

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from benchmarks.generate import generate_csv
from benchmarks.import_bench import GOAL_RATE, ROLES, TENANT, plain_duckdb, put_source, whole_import
from benchmarks.measure import Measured, Result, best_of
from benchmarks.setting import Setting
from connectors.kafka.worker_group import group_members
from orchestration.composition.context import Context
from orchestration.local import stack
from orchestration.platform.settings import Settings
from schemas.topics import WORKER_GROUP

WORKERS: Final = (2, 3)
"""Compared with one worker, in an import of `WORKERS_ROWS`, or of the largest size below that."""
WORKERS_ROWS: Final = 5_000_000
GOAL_LINEAR: Final = 0.9
"""Goal: rows per second of a larger import, relative to the smallest, which has fewer rows to share fixed costs."""
PEAK_MIB: Final = 1024
FLAT: Final = 1.25
"""Goal: the largest import takes at most a quarter more memory than the smallest."""
WARM_ROWS: Final = 100_000
"""Rows of an import before the measured one, so that functions are warm and the broker's code is compiled."""
MIB: Final = 1024 * 1024
JOIN_S: Final = 60
POLL_S: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One import on a fresh stack: `peaks` are the resident bytes of the largest process of each role.

    `plain` is DuckDB's time for the same file, if it was measured.
    """

    workers: int
    measured: Measured
    peaks: Mapping[str, int]
    plain: Measured | None = None

    @property
    def label(self) -> str:
        """Size and number of workers."""
        return f"{self.measured.rows / 1e6:g} M rows, {self.workers} worker{'s' if self.workers > 1 else ''}"


def run(setting: Setting) -> list[Result]:
    """One import of each size, smallest first, then the ones with more workers."""
    sizes = [_import(setting.scratch, rows, plain=True) for rows in setting.scaling_rows]
    alone = compared_with_more_workers(sizes)
    more = [_import(setting.scratch, alone.measured.rows, workers=workers) for workers in WORKERS]
    return [*speeds(sizes, alone, more), *memory([*sizes, *more], sizes)]


def compared_with_more_workers(sizes: Sequence[Import]) -> Import:
    """The largest import with at most `WORKERS_ROWS` rows, or else the smallest."""
    few = [one for one in sizes if one.measured.rows <= WORKERS_ROWS]
    return few[-1] if few else sizes[0]


def speeds(sizes: Sequence[Import], alone: Import, more: Sequence[Import]) -> list[Result]:
    """Each size compared with plain DuckDB and with the smallest, and more workers with one."""
    results = []
    for one in sizes:
        plain = f"plain DuckDB, {one.measured.rows / 1e6:g} M rows"
        if one.plain is not None:
            results += [Result(benchmark="scaling", label=plain, best=one.plain), _speed(one, plain, GOAL_RATE)]
    results += [_speed(one, sizes[0].label, GOAL_LINEAR) for one in sizes[1:]]
    results += [_speed(one, alone.label, None) for one in more]
    return results


def _speed(one: Import, baseline: str, goal: float | None) -> Result:
    note = ", ".join(f"{role} {peak / MIB:.0f} MiB" for role, peak in one.peaks.items())
    return Result(benchmark="scaling", label=one.label, best=one.measured, baseline=baseline, goal=goal, note=note)


def memory(imports: Sequence[Import], sizes: Sequence[Import]) -> list[Result]:
    """The largest process of each role in each import, and how its memory grows from smallest to largest size."""
    results = []
    for role in ROLES:
        for one in imports:
            peak = one.peaks[role]
            results.append(
                Result(
                    benchmark="memory",
                    label=f"{role}, {one.label}",
                    best=replace(one.measured, peak_bytes=peak),
                    target=f"< {PEAK_MIB} MiB",
                    met=peak < PEAK_MIB * MIB,
                )
            )
        if len(sizes) > 1:
            results.append(_growth(role, sizes))
    return results


def _growth(role: str, sizes: Sequence[Import]) -> Result:
    first, last = (replace(one.measured, peak_bytes=one.peaks[role]) for one in (sizes[0], sizes[-1]))
    growth = last.peak_bytes / first.peak_bytes
    flat = growth <= FLAT
    return Result(
        benchmark="memory",
        label=f"{role}, growth",
        best=last,
        target=f"<= {FLAT:g} x",
        met=flat,
        note=f"{'flat' if flat else 'not flat'}: {growth:.2f} times the peak of the smallest",
    )


def _import(scratch: Path, rows: int, *, workers: int = 1, plain: bool = False) -> Import:
    folder = scratch / f"scaling-{rows}-{workers}"
    folder.mkdir()
    path = folder / "users.csv"
    generate_csv(path, rows)
    bare = best_of(1, plain_duckdb, path, rows, folder / "plain") if plain else None
    measured, peaks = import_alone(folder, [path], rows, {"MUSTER_WORKERS": str(workers)})
    return Import(workers=workers, measured=measured, peaks=peaks, plain=bare)


def import_alone(
    folder: Path, files: Sequence[Path], rows: int, env: Mapping[str, str]
) -> tuple[Measured, dict[str, int]]:
    """One import of all files on a stack of its own, after a small one; and the peak of each role. Removes `folder`."""
    home, first = folder / "home", folder / "first.csv"
    generate_csv(first, WARM_ROWS)
    settings = stack.up(home, free_ports=True, env={**os.environ, **env})
    try:
        await_members(settings)
        context = Context(settings)
        context.audiences.add_tenant(TENANT, 1)
        for prefix, of_import in (("warm/", [first]), ("rows/", files)):
            for file in of_import:
                put_source(context, file, prefix)
                file.unlink()
        whole_import(context, "warm/", WARM_ROWS, form="prefix")
        measured, peaks, _ = whole_import(context, "rows/", rows, form="prefix")
    finally:
        stack.down(home)
    shutil.rmtree(folder)
    return measured, peaks


def await_members(settings: Settings) -> None:
    """Wait until every worker has its partitions: a late one would take some of the others' away."""
    deadline = time.monotonic() + JOIN_S
    while group_members(settings.kafka_bootstrap, WORKER_GROUP) < settings.workers:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{settings.workers} workers have not joined in {JOIN_S} s")
        time.sleep(POLL_S)
