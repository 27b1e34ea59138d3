"""The exhibit of faulted imports on real servers: the crash sweep, as a table of results by kind of fault."""

from functools import partial
from typing import Final

from tests.faults.__main__ import HEADER, cells
from tests.faults.sweep import Sweep, joined, plan, sweep
from tests.prove.exhibits import Exhibit, Say, Scale, Section, Table
from tests.prove.kept import Kept
from tests.prove.pool import in_processes

LEAST: Final = 300
PARTS: Final = 16
"""Parts of the sweep, each with its own stack. Stopping the exhibit loses only the unfinished parts."""
ABOUT: Final = (
    "Each is the import of a file on the embedded servers while one fault takes place: kills at the k-th write of a "
    "process, frozen processes, servers that die, disks that fail, and links that are slow, stall, reset, cut answers "
    "or lose them. Every second file is cut into units that run side by side. Readers read the audiences meanwhile. An "
    "oracle of its own says what each version must hold; afterwards nothing is staged, the three stores agree, and the "
    "workers lag behind nothing."
)


def run_part(number: int) -> Sweep:
    """Run every `PARTS`th import of the full sweep on its own stack."""
    return sweep(plan("full")[number::PARTS], report=partial(print, f"part {number + 1}:", flush=True))


def run(scale: Scale, say: Say, kept: Kept) -> Section:
    """Run as many parts of the full sweep as time allows. Fewer than `LEAST` imports are a failure."""
    parts = in_processes(
        run_part,
        [(number,) for number in range(PARTS)],
        kept=kept,
        processes=scale.processes,
        deadline_s=scale.deadline_s,
    )
    done = joined(part for _, part in parts)
    say(f"{len(done.results)} imports, {len(done.wrong)} violations")
    failures = done.wrong
    if len(done.results) < LEAST:
        failures.append(f"only {len(done.results)} of {LEAST} imports ran within the time")
    return Section(
        summary=(
            f"{len(done.results)} faulted imports, {done.reads:,} reads meanwhile ({done.outages:,} met an outage): "
            f"{len(done.wrong)} violations."
        ),
        text=(ABOUT,),
        tables=(Table(header=HEADER, rows=[cells(row) for row in done.rows()]),),
        failures=failures,
    )


COVERS: Final = (
    "schemas",
    ":(glob)segmentation/*.py",
    ":(glob)streams/*.py",
    "connectors",
    ":!connectors/sinks",
    "orchestration/catalog",
    "orchestration/composition",
    ":!orchestration/composition/service.py",
    "orchestration/control",
    "orchestration/entrypoints",
    ":!orchestration/entrypoints/demo.py",
    ":!orchestration/entrypoints/demo_console.py",
    "orchestration/kinds",
    ":!orchestration/kinds/export",
    ":!orchestration/kinds/snapshot",
    "orchestration/local",
    "orchestration/notifications",
    "orchestration/operations/fsck.py",
    "orchestration/platform",
    "orchestration/workflow",
    "uv.lock",
)
"""Everything that an import passes through, but no segments, exports or snapshots."""
EXHIBIT: Final = Exhibit(name="faults", title="Faulted imports on real servers", covers=COVERS, run=run)
