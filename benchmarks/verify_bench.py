"""Verification (strict scan, typed, counted and digested per partition) compared with pyarrow.csv only parsing."""

from pathlib import Path

import pyarrow.csv as pacsv

from benchmarks.measure import Result, best_of
from benchmarks.setting import SPEC, Setting, warm_parser
from connectors.sources.limits import ParseLimits
from connectors.sources.rejects import RejectBatch
from connectors.verification.verifier import verify_file

GOAL = 0.5  # at most twice the time


class NoRejects:
    """Fails on any reject: the generated file has none."""

    def write(self, rejects: RejectBatch) -> None:
        raise AssertionError(rejects.rejects()[:1])

    def finish(self) -> str | None:
        return None


def verify(path: Path, partitions: int) -> int:
    evidence = verify_file(
        path, SPEC, partitions=partitions, limits=ParseLimits(), rejects=NoRejects(), on_progress=lambda _: None
    )
    return evidence.accepted


def parse_with_pyarrow(path: Path) -> int:
    return int(pacsv.read_csv(path).num_rows)


def run(setting: Setting) -> list[Result]:
    """Verify the file in a child process as in production; pyarrow uses all its threads."""
    size = f"{setting.csv.stat().st_size / 1e6:.0f} MB"
    pyarrow = best_of(setting.repeat, parse_with_pyarrow, setting.csv)
    ours = best_of(setting.repeat, verify, setting.csv, setting.settings.partitions, prepare=warm_parser)
    return [
        Result(benchmark="verify", label="pyarrow.csv, parse only", best=pyarrow, note=size),
        Result(
            benchmark="verify",
            label="muster verify",
            best=ours,
            baseline="pyarrow.csv, parse only",
            goal=GOAL,
            note="strict, confined child, digests",
        ),
    ]
