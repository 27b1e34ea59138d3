"""Hostile files: broken CSV, JSON Lines and Parquet, bombs and fuzzing, each held against an oracle of its own."""

import time
from typing import Final

from tests.hostile.running import PARTS, Row
from tests.hostile.running import run as run_parts
from tests.prove.exhibits import Exhibit, Say, Scale, Section, Table

ABOUT: Final = (
    "Each fault is put into a clean file whose meaning is known; what is read must be that, named rejects, or an error "
    "with a code. [file-formats.md](file-formats.md#what-no-reader-can-know) says what no reader can know."
)
SHOWN: Final = 10
"""Files of a part that are named when something is wrong."""


def run(scale: Scale, say: Say) -> Section:
    """All parts, until the time is over."""
    began = time.monotonic()
    rows: list[Row] = []
    for part in PARTS:
        if time.monotonic() - began > scale.deadline_s:
            break
        for row in run_parts("full", only=(part,)):
            rows.append(row)
            say(f"{row.part}: {row.files:,} files, {len(row.wrong)} wrong")
    files, wrong = sum(row.files for row in rows), sum(len(row.wrong) for row in rows)
    failures = [f"{row.part}: {text}" for row in rows for text in row.wrong[:SHOWN]]
    if missing := list(PARTS)[len(rows) :]:
        failures.append(f"did not run within the time: {', '.join(missing)}")
    return Section(
        summary=f"{files:,} hostile files: {wrong} misread, or ended without a name.",
        text=(ABOUT,),
        tables=(
            Table(
                header=("part", "what is promised", "files", "wrong", ""),
                rows=[(r.part, r.promise, f"{r.files:,}", str(len(r.wrong)), r.note) for r in rows],
            ),
        ),
        failures=failures,
    )


EXHIBIT: Final = Exhibit(name="hostile", title="Hostile files", run=run)
