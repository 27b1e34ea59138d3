"""The exhibit of faulted imports on real servers: the crash sweep, as a table of what each kind of fault came to."""

import itertools
import time
from functools import partial
from typing import Final

from tests.faults.__main__ import HEADER, cells
from tests.faults.sweep import Sweep, joined, plan, sweep
from tests.prove.exhibits import Exhibit, Say, Scale, Section, Table
from tests.prove.pool import in_processes

LEAST: Final = 300
ENDING_S: Final = 600.0
"""What the last import of a lane and what is looked at afterwards may take."""
ABOUT: Final = (
    "Each is the import of a file on the embedded servers while one fault takes place: kills at the k-th write of a "
    "process, frozen processes, servers that die, disks that fail, and links that are slow, stall, reset, cut answers "
    "or lose them. Readers read the audiences meanwhile. An oracle of its own says what each version must hold; "
    "afterwards nothing is staged, the three stores agree, and the workers lag behind nothing."
)


def run_lane(number: int, lanes: int, deadline_s: float) -> Sweep:
    """Every so-manieth import of the full sweep, on a stack of its own."""
    end = time.monotonic() + deadline_s
    report = partial(print, f"lane {number + 1}:", flush=True)
    return sweep(itertools.takewhile(lambda _: time.monotonic() < end, plan("full")[number::lanes]), report=report)


def run(scale: Scale, say: Say) -> Section:
    """The full sweep in lanes, or as much of it as there is time for, which is a failure below `LEAST` imports."""
    work = [(number, scale.processes, scale.deadline_s) for number in range(scale.processes)]
    lanes = in_processes(run_lane, work, processes=scale.processes, deadline_s=scale.deadline_s + ENDING_S)
    done = joined(lane for _, lane in lanes)
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


EXHIBIT: Final = Exhibit(name="faults", title="Faulted imports on real servers", run=run)
