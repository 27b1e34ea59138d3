"""Whole imports of as many rows as one file that one reader takes, as one file in units, and as many files in units.

Each import runs on its own stack, since how files are cut into units is a setting. A unit has the fixed cost of two
functions, so the goal is for `--rows 20000000` and more.
"""

from pathlib import Path
from typing import Final

from benchmarks.generate import generate_csv
from benchmarks.measure import Measured, Result
from benchmarks.scaling_bench import import_alone
from benchmarks.setting import Setting

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
    size = generate_files(folder / "rows", setting.rows, files=files)
    unit_bytes = 2 * size if units == 1 else -(-size // units)
    sources = sorted((folder / "rows").iterdir())
    measured, _ = import_alone(folder, sources, setting.rows, {"MUSTER_UNIT_BYTES": str(unit_bytes)})
    return measured


def generate_files(folder: Path, rows: int, *, files: int) -> int:
    """Write files of about as many random users each, `rows` of them together; returns their bytes."""
    folder.mkdir(parents=True)
    ends = [rows * (number + 1) // files for number in range(files)]
    return sum(
        generate_csv(folder / f"part-{number:05}.csv", end - begin, seed=number)
        for number, (begin, end) in enumerate(zip([0, *ends], ends, strict=False))
    )
