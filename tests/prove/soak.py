"""Soak: long-lived processes through many imports, exports and rule changes, with faults."""

from typing import Final

from tests.faults.growth import table
from tests.faults.soak import TURNS, soak
from tests.prove.exhibits import Exhibit, Say, Scale, Section, Table
from tests.prove.kept import Kept

ABOUT: Final = (
    "Imports of mixed sizes into three audiences, one after the other, each with a fault of a link or a task; every "
    "fourth turn an export is read back, every third a rule changes, and members visit. In the end a new rule counts "
    "who has visited and is a member; old versions are given up, and no tag and no object of theirs may be left; "
    "workers lag behind nothing. What is large in the last quarter must have been so in the second."
)


def run(scale: Scale, say: Say, kept: Kept) -> Section:
    """Run `scale.soak_turns` turns, as far as time allows. Fewer than `TURNS` imports are a failure."""
    del kept  # cannot be resumed, because its processes must live long
    done = soak(scale.soak_turns, report=say, minutes=scale.deadline_s / 60)
    failures = done.wrong
    if done.imports < TURNS:
        failures.append(f"only {done.imports} of {TURNS} imports ran")
    return Section(
        summary=(
            f"{done.imports} imports ({done.ready} READY, {done.imports - done.ready} failed with a cause), "
            f"{done.exports} exports, {done.rules} changes of rules, {done.visitors:,} visitors, {done.reads:,} reads: "
            f"{len(done.wrong)} violations."
        ),
        text=(ABOUT,),
        tables=(
            Table(
                text="Resident MiB of each quarter (medians), and open files in the second and in the last:",
                header=("process", "first", "second", "third", "last", "open files"),
                rows=table(done.measures),
            ),
        ),
        failures=failures,
    )


COVERS: Final = (
    "schemas",
    "segmentation",
    "streams",
    "connectors",
    "muster",
    "orchestration",
    ":!orchestration/cli",
    ":!orchestration/deploy",
    ":!orchestration/entrypoints/demo.py",
    ":!orchestration/entrypoints/demo_console.py",
    ":!orchestration/quoting",
    "uv.lock",
)
"""Everything that runs for long."""
EXHIBIT: Final = Exhibit(name="soak", title="Soak", covers=COVERS, run=run, alone=True)
