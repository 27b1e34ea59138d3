"""The exhibit of faulted imports on real servers: the crash sweep, as a table of what each kind of fault came to."""

import itertools
import time
from typing import Final

from tests.faults.__main__ import HEADER, cells
from tests.faults.sweep import plan, sweep
from tests.prove.exhibits import Exhibit, Say, Scale, Section, Table

LEAST: Final = 300
ABOUT: Final = (
    "Each is the import of a file on the embedded servers while one fault takes place: kills at the k-th write of a "
    "process, frozen processes, servers that die, disks that fail, and links that are slow, stall, reset, cut answers "
    "or lose them. Readers read the audiences meanwhile. An oracle of its own says what each version must hold; "
    "afterwards nothing is staged, the three stores agree, and the workers lag behind nothing."
)


def run(scale: Scale, say: Say) -> Section:
    """The full sweep, or as much of it as there is time for, which is a failure below `LEAST` imports."""
    end = time.monotonic() + scale.deadline_s
    done = sweep(itertools.takewhile(lambda _: time.monotonic() < end, plan("full")), report=say)
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


EXHIBIT: Final = Exhibit(name="faults", title="Faulted imports on real servers", run=run)
