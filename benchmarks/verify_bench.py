"""Verification (strict scan, typed, counted and digested per partition) compared with pyarrow only parsing."""

from pathlib import Path

import pyarrow.csv as pacsv
import pyarrow.json as pajson

from benchmarks.generate import as_json_lines
from benchmarks.measure import Result, best_of
from benchmarks.setting import SPEC, Setting, warm_parser
from connectors.sources.limits import ParseLimits
from connectors.sources.rejects import RejectBatch
from connectors.verification.verifier import verify_file

GOAL = 0.5  # at most twice the time
JSON_ROWS_PER_S = 1_000_000


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


def parse_json_with_pyarrow(path: Path) -> int:
    return int(pajson.read_json(path).num_rows)


def run(setting: Setting) -> list[Result]:
    """Verify the file in a child process as in production; pyarrow uses all its threads."""
    return [*_csv(setting), *_json_lines(setting)]


def _json_lines(setting: Setting) -> list[Result]:
    path = setting.scratch / "users.jsonl"
    size = f"{as_json_lines(setting.csv, path) / 1e6:.0f} MB"
    pyarrow = best_of(setting.repeat, parse_json_with_pyarrow, path)
    ours = best_of(setting.repeat, verify, path, setting.settings.partitions, prepare=warm_parser)
    path.unlink()
    return [
        Result(benchmark="verify", label="pyarrow.json, parse only", best=pyarrow, note=size),
        Result(
            benchmark="verify",
            label="muster verify, JSON Lines",
            best=ours,
            baseline="pyarrow.json, parse only",
            target=f"{JSON_ROWS_PER_S / 1e6:g} M rows/s",
            met=ours.rows / ours.wall_s >= JSON_ROWS_PER_S,
        ),
    ]


def _csv(setting: Setting) -> list[Result]:
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
