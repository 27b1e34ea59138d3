"""The rotating slices that have run: the one of this tree, and earlier ones from the page, newest first."""

import re
import time
from datetime import UTC, datetime
from typing import Final

from tests.prove import evidence
from tests.prove.exhibits import Exhibit, Say, Scale, Section, Table
from tests.prove.kept import Kept
from tests.rotation.choice import slice_of
from tests.rotation.running import TIER, files_of_properties, tests_of_the_tier
from tests.rotation.running import run as run_slice
from tests.trees import PACKAGES, committed_tree

NAME: Final = "rotation"
HEADER: Final = ("date", "tree", "tests", "schedules", "faulted imports", "failures", "minutes")
KEPT: Final = 200
"""Rows of the table."""
ABOUT: Final = (
    "CI runs a slice of the long tests with every change: tests of `make test-faults`, schedules from a seed of its "
    "own and faulted imports, all chosen by the hash of the tree, so that over time everything runs. "
    "`python -m tests.rotation --tree HASH` runs one again."
)


def run(scale: Scale, say: Say, kept: Kept) -> Section:
    """Run the slice of the committed tree."""
    del scale, kept  # it takes five minutes
    began = time.monotonic()
    chosen = slice_of(committed_tree(), tests_of_the_tier(TIER), files_of_properties())
    outcome = run_slice(chosen, say)
    row = (
        f"{datetime.now(UTC):%Y-%m-%d}",
        chosen.tree[:12],
        str(outcome.tests),
        f"{chosen.first_schedule} + {outcome.schedules}",
        ", ".join(planned.kind for planned in chosen.imports[: outcome.imports]),
        str(len(outcome.failures)),
        f"{(time.monotonic() - began) / 60:.0f}",
    )
    page = evidence.PAGE.read_text(encoding="utf-8") if evidence.PAGE.exists() else ""
    rows = [row, *earlier(evidence.sections(page).get(NAME, ""))][:KEPT]
    return Section(
        summary=f"Slices recorded: {len(rows)}; failures in the newest: {len(outcome.failures)}.",
        text=(ABOUT,),
        tables=(Table(header=HEADER, rows=rows),),
        failures=outcome.failures,
    )


def earlier(section: str) -> list[tuple[str, ...]]:
    """The rows in an existing section of the page. A row begins with its date."""
    lines = re.findall(r"^\| (\d{4}-\d\d-\d\d \| .*) \|$", section, re.MULTILINE)
    return [tuple(line.split(" | ")) for line in lines]


COVERS: Final = (*PACKAGES, "uv.lock")
"""Over time all of the product; a slice takes five minutes."""
EXHIBIT: Final = Exhibit(name=NAME, title="Rotating slices", covers=COVERS, run=run)
