"""Runs all benchmarks on one file and one broker.

`python -m benchmarks [--rows N] [--scaling-rows N,N,...] [--users N] [--events N] [--rules N] [--idle-s N]
[--repeat N] [--json FILE] [names...]`.
"""

import argparse
import json
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import (
    api_bench,
    console_bench,
    export_bench,
    feeds_bench,
    hosts_bench,
    idle_bench,
    import_bench,
    publish_bench,
    scaling_bench,
    units_bench,
    verify_bench,
    version_bench,
    worker_bench,
)
from benchmarks.generate import generate_csv
from benchmarks.measure import Result, machine
from benchmarks.segments import bench as segments_bench
from benchmarks.segments import preview
from benchmarks.setting import Benchmark, Setting
from orchestration.local import stack

BENCHMARKS: dict[str, Benchmark] = {
    "verify": verify_bench.run,
    "publish": publish_bench.run,
    "worker": worker_bench.run,
    "version": version_bench.run,
    "import": import_bench.run,
    "scaling": scaling_bench.run,
    "units": units_bench.run,
    "hosts": hosts_bench.run,
    "export": export_bench.run,
    "segments": segments_bench.run,
    "feeds": feeds_bench.run,
    "preview": preview.run,
    "api": api_bench.run,
    "console": console_bench.run,
    "idle": idle_bench.run,
}
"""Benchmarks by name, in running order. To add one, write a module with a `run` and a line here."""

NO_FILE = {"version", "scaling", "units", "hosts", "segments", "feeds", "preview", "api", "console", "idle"}
"""Benchmarks that do not use the CSV file."""
AS_ROOT = {"hosts"}
"""Benchmarks that run only when they are named."""
SCALING_ROWS = "1000000,5000000,20000000,50000000"
PLAIN_WIDTH = 160


def main() -> None:
    """Start a dedicated stack in a temporary home, run, report, stop."""
    formatter = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks", formatter_class=formatter)
    parser.add_argument(
        "names",
        nargs="*",
        default=sorted({*BENCHMARKS} - AS_ROOT, key=[*BENCHMARKS].index),
        help=f"some of {', '.join(BENCHMARKS)}",
    )
    parser.add_argument(
        "--rows",
        type=int,
        default=5_000_000,
        help="of the file of all but scaling, segments, feeds, preview, api, console and idle; of each side of "
        "version, and of each import of units",
    )
    parser.add_argument(
        "--scaling-rows", type=sizes, default=SCALING_ROWS, help="of scaling: sizes of imports, with commas"
    )
    parser.add_argument("--users", type=int, default=1_000_000, help="of segments and preview")
    parser.add_argument("--events", type=int, default=20_000_000, help="of segments and preview")
    parser.add_argument("--rules", type=int, default=50, help="of segments")
    parser.add_argument("--idle-s", type=int, default=180, help="seconds that idle watches a stack at rest")
    parser.add_argument("--repeat", type=int, default=2, help="runs of each; the best counts")
    parser.add_argument("--json", type=Path, help="where the results go as JSON; without it bench-ROWS.json")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(BENCHMARKS)):
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    console = Console() if sys.stdout.isatty() else Console(width=PLAIN_WIDTH)
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as directory:
        scratch = Path(directory)
        home = scratch / "home"
        settings = stack.up(home, free_ports=True, env={**os.environ, **feeds_bench.ENVIRONMENT})
        try:
            path = scratch / "users.csv"
            size = generate_csv(path, options.rows) if set(options.names) - NO_FILE else 0
            if size:
                console.print(f"{options.rows:,} rows, {size / 1e6:.0f} MB")
            setting = Setting(
                csv=path,
                rows=options.rows,
                scaling_rows=options.scaling_rows,
                users=options.users,
                events=options.events,
                rules=options.rules,
                idle_s=options.idle_s,
                repeat=options.repeat,
                scratch=scratch,
                settings=settings,
            )
            before = machine()
            results = [result for name in options.names for result in BENCHMARKS[name](setting)]
        finally:
            stack.down(home)
    console.print(table(results))
    rates = {result.label: result.rate for result in results}
    lines = [result.as_record(rates) for result in results]
    at = datetime.now(UTC).isoformat(timespec="seconds")
    record = {"rows": options.rows, "bytes": size, "measured_at": at, "machine": before, "results": lines}
    out: Path = options.json or Path(f"bench-{options.rows}.json")
    out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    console.print(f"written to {out}")


def sizes(text: str) -> tuple[int, ...]:
    """Row counts separated by commas, in ascending order. Raises `ValueError` for anything else."""
    if (smallest := min(numbers := sorted({int(number) for number in text.split(",")}))) < 1:
        raise ValueError(smallest)
    return tuple(numbers)


def table(results: list[Result]) -> Table:
    """The results as a table, one per line."""
    rates = {result.label: result.rate for result in results}
    out = Table("benchmark", "what")
    for title in ("M rows/s", "seconds", "CPU us/row", "peak MiB", "times the", "goal", "met"):
        out.add_column(title, justify="right")
    out.add_column("note")
    for result in results:
        times, met = result.times(rates), result.verdict(rates)
        out.add_row(
            result.benchmark,
            result.label,
            f"{result.rate / 1e6:.2f}",
            f"{result.best.wall_s:.2f}",
            f"{result.best.cpu_s / result.best.rows * 1e6:.2f}",
            f"{result.best.peak_bytes / 2**20:.0f}",
            f"{times:.2f} x {result.baseline}" if times else "",
            f"{result.goal:g} x" if result.goal else result.target,
            "" if met is None else "yes" if met else "NO",
            result.note,
        )
    return out


if __name__ == "__main__":
    main()
