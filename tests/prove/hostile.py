"""Hostile files: broken CSV, JSON Lines and Parquet, bombs and fuzzing, each compared with an independent oracle."""

import time
from typing import Final

from connectors.sources.limits import MIB
from tests.hostile.running import PARTS, Row
from tests.hostile.running import run as run_parts
from tests.prove.exhibits import Exhibit, Say, Scale, Section, Table
from tests.prove.kept import Kept

ABOUT: Final = (
    "Each fault is put into a clean file whose meaning is known; what is read must be that, named rejects, or an error "
    "with a code. [file-formats.md](file-formats.md#what-no-reader-can-know) says what no reader can know."
)
COLUMNS: Final = (
    "A *misread* is a file of which other rows were read than it holds, and nothing was said; a *crash* ends a process "
    "without a name for it; *other* is an outcome with a name that is not the one promised. Memory is the largest that "
    "a process that read the files of a part has had, and what it may have: the readers of parts without it run in the "
    "process of the tests. Seconds are of processor time, of one process and its children."
)
SHOWN: Final = 10
"""Files of a part that are named when something is wrong."""


def run(scale: Scale, say: Say, kept: Kept) -> Section:
    """Run all parts until the time is over."""
    began = time.monotonic()
    rows: list[Row] = []
    for part in PARTS:
        if part not in kept:
            if time.monotonic() - began > scale.deadline_s:
                break
            kept[part] = list(run_parts("full", only=(part,)))
        for row in kept[part]:
            rows.append(row)
            say(f"{row.part}: {row.files:,} files, {len(row.wrong)} wrong, {row.cpu_s:.0f} s")
    failures = [f"{row.part}: {text}" for row in rows for text in row.wrong[:SHOWN]]
    if missing := list(PARTS)[len(rows) :]:
        failures.append(f"did not run within the time: {', '.join(missing)}")
    misread, crashes, others = (sum(row.of_kind(kind) for row in rows) for kind in ("misread", "crash", "other"))
    return Section(
        summary=f"{sum(row.files for row in rows):,} hostile files: {misread} silent misreads, {crashes} crashes, "
        f"{others} other outcomes than promised.",
        text=(ABOUT, COLUMNS),
        tables=(
            Table(
                header=("part", "what is promised", "files", "misread", "crash", "other", "memory, MiB", "s", ""),
                rows=[_shown(row) for row in rows],
            ),
        ),
        failures=failures,
    )


def _shown(row: Row) -> tuple[str, ...]:
    return (
        row.part,
        row.promise,
        f"{row.files:,}",
        *(str(row.of_kind(kind)) for kind in ("misread", "crash", "other")),
        f"{row.peak // MIB:,} of {row.bound // MIB:,}" if row.bound else "",
        f"{row.cpu_s:.0f}",
        row.note,
    )


COVERS: Final = (
    "schemas",
    "segmentation/intake",
    "connectors/confinement.py",
    "connectors/fork_server",
    "connectors/sandbox.py",
    "connectors/sources",
    "connectors/storage",
    "uv.lock",
)
"""From the bytes of a file to its rows and rejects."""
EXHIBIT: Final = Exhibit(name="hostile", title="Hostile files", covers=COVERS, run=run)
