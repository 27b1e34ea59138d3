"""`python -m tests.faults`: run faulted imports on their own stack and print a table of them."""

import argparse
import sys
from typing import Final

from tests.faults.kinds import KINDS
from tests.faults.sweep import FIRST_SEED, Planned, Row, plan, sweep

HEADER: Final = ("fault", "imports", "struck", "READY", "FAILED", "causes", "violations")


def cells(row: Row) -> tuple[str, ...]:
    """One row of the table, in the order of `HEADER`."""
    counts = (row.imports, row.struck, row.ready, row.failed)
    return (row.kind, *map(str, counts), row.causes, str(row.violations))


def table(rows: list[Row]) -> str:
    """The table as Markdown."""
    lines = [HEADER, ("---",) * len(HEADER), *map(cells, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> int:
    """Return the exit code: 0 without violations, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--scale", choices=("slice", "full"), default="slice", help="21 faulted imports, or 300")
    parser.add_argument(
        "--kind", choices=sorted(KINDS), action="append", help="only this kind of fault; may be repeated"
    )
    parser.add_argument("--seed", type=int, help=f"with --kind: the seed of the first import (default: {FIRST_SEED})")
    parser.add_argument("--times", type=int, default=1, help="with --kind: how many imports of each, seeds upwards")
    parser.add_argument("--rows", type=int, help="with --kind: rows of the files (default: by the seed)")
    parser.add_argument("--units", action="store_true", help="with --kind: on a stack that cuts files into units")
    given = parser.parse_args()
    faults = plan(given.scale)
    if given.kind:
        first = FIRST_SEED if given.seed is None else given.seed
        faults = [
            Planned(kind=kind, seed=seed, rows=given.rows, units=given.units)
            for seed, kind in enumerate(given.kind * given.times, first)
        ]
    done = sweep(faults, report=lambda line: print(line, flush=True))  # noqa: T201 - a command
    print(table(done.rows()))  # noqa: T201
    print(f"{len(done.results)} imports, {done.reads} reads, {done.outages} in an outage")  # noqa: T201
    for violation in done.wrong:
        print(f"VIOLATION: {violation}", file=sys.stderr)  # noqa: T201
    return 1 if done.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
