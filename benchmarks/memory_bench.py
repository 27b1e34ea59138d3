"""Peak memory of importer and worker at two sizes of import: below the bound, and flat.

Each size has a stack of its own, so that no process brings memory along from an import before it.
"""

from pathlib import Path
from typing import Final

from benchmarks.generate import generate_csv
from benchmarks.import_bench import ROLES, TENANT, whole_import
from benchmarks.measure import Measured, Result
from benchmarks.setting import Setting
from orchestration.context import Context
from orchestration.local import stack

PEAK_MIB: Final = 1024
FLAT: Final = 1.25
"""The rule: the largest import takes at most a quarter more than the smallest. Twenty times the rows."""
MIB: Final = 1024 * 1024


def run(setting: Setting) -> list[Result]:
    """One import of each size; the resident memory of every process is sampled."""
    runs = [_import(setting.scratch / f"memory-{rows}", rows) for rows in sorted(setting.memory_rows)]
    results = []
    for role in ROLES:
        peaks = [peaks[role] for _, peaks in runs]
        for (measured, _), peak in zip(runs, peaks, strict=True):
            results.append(
                Result(
                    benchmark="memory",
                    label=f"{role}, {measured.rows / 1e6:g} M rows",
                    best=Measured(rows=measured.rows, wall_s=measured.wall_s, cpu_s=measured.cpu_s, peak_bytes=peak),
                    target=f"< {PEAK_MIB} MiB",
                    met=peak < PEAK_MIB * MIB,
                )
            )
        if len(peaks) > 1:
            results.append(_flat(role, runs[-1][0], peaks))
    return results


def _flat(role: str, largest: Measured, peaks: list[int]) -> Result:
    growth = peaks[-1] / peaks[0]
    flat = growth <= FLAT
    return Result(
        benchmark="memory",
        label=f"{role}, growth",
        best=largest,
        target=f"<= {FLAT:g} x",
        met=flat,
        note=f"{'flat' if flat else 'not flat'}: {growth:.2f} times the peak of the smallest",
    )


def _import(scratch: Path, rows: int) -> tuple[Measured, dict[str, int]]:
    scratch.mkdir()
    path, home = scratch / "users.csv", scratch / "home"
    generate_csv(path, rows)
    settings = stack.up(home, free_ports=True)
    try:
        context = Context(settings)
        context.audiences.add_tenant(TENANT, 1)
        key = "bench/users.csv"
        context.objects.put_file(path, settings.staging_bucket, key)
        path.unlink()
        return whole_import(context, key, rows)
    finally:
        stack.down(home)
