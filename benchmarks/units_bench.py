"""Whole imports of as many rows as one file that one reader takes, as one file in units, and as many files in units.

Each import runs on its own stack, since how files are cut into units is a setting.
"""

import os
import shutil
from pathlib import Path
from typing import Final

from benchmarks.generate import generate_csv
from benchmarks.import_bench import SOURCE_BUCKET, TENANT, whole_import
from benchmarks.measure import Measured, Result
from benchmarks.scaling_bench import WARM_ROWS, await_members
from benchmarks.setting import Setting
from orchestration.composition.context import Context
from orchestration.local import stack

FILES: Final = 40
UNITS: Final = 8
"""Into so many units the rows are cut, whatever their number."""
GOAL_SAME: Final = 1 / 1.1
"""Goal: at most 1.1 times the time of one reader, on the same two cores."""
ALONE: Final = "one file, one reader"


def run(setting: Setting) -> list[Result]:
    """Import the rows in each way."""
    one = _measured(setting, files=1, units=1)
    ways = {"one file in units": 1, f"{FILES} files in units": FILES}
    return [
        Result(benchmark="units", label=ALONE, best=one),
        *(
            Result(
                benchmark="units",
                label=label,
                best=_measured(setting, files=files, units=UNITS),
                baseline=ALONE,
                goal=GOAL_SAME,
            )
            for label, files in ways.items()
        ),
    ]


def _measured(setting: Setting, *, files: int, units: int) -> Measured:
    folder = setting.scratch / f"units-{files}-{units}"
    home = folder / "home"
    size = generate_files(folder / "rows", setting.rows, files=files)
    warm = folder / "warm" / "first.csv"
    warm.parent.mkdir()
    generate_csv(warm, WARM_ROWS)
    unit_bytes = 2 * size if units == 1 else -(-size // units)
    settings = stack.up(home, free_ports=True, env={**os.environ, "MUSTER_UNIT_BYTES": str(unit_bytes)})
    try:
        await_members(settings)
        context = Context(settings)
        context.audiences.add_tenant(TENANT, 1)
        context.s3.client().create_bucket(Bucket=SOURCE_BUCKET)
        for path in (*(folder / "rows").iterdir(), warm):
            context.objects.put_file(path, SOURCE_BUCKET, f"{path.parent.name}/{path.name}")
            path.unlink()
        whole_import(context, "warm/", WARM_ROWS, form="prefix")
        measured, _, _ = whole_import(context, "rows/", setting.rows, form="prefix")
    finally:
        stack.down(home)
    shutil.rmtree(folder)
    return measured


def generate_files(folder: Path, rows: int, *, files: int) -> int:
    """Write files of about as many random users each, `rows` of them together; returns their bytes."""
    folder.mkdir(parents=True)
    ends = [rows * (number + 1) // files for number in range(files)]
    return sum(
        generate_csv(folder / f"part-{number:05}.csv", end - begin, seed=number)
        for number, (begin, end) in enumerate(zip([0, *ends], ends, strict=False))
    )
