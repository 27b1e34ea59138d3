"""Rules on Spark: random rules over random archives, counted by Spark over the tables and by DuckDB over the files."""

import tempfile
import time
from pathlib import Path
from typing import Final

from tests.prove.exhibits import Exhibit, Say, Scale, Section
from tests.prove.kept import Kept
from tests.spark_cases import cases, engines

ABOUT: Final = (
    "Each rule has an archive of its own, with copies, late events, deleted profiles and audiences, and is asked at an "
    "instant and a position of its own. Spark answers through Spark Connect over the Iceberg tables, DuckDB over their "
    "files: members and the users of each part of the rule, values of a type that it cannot compare, members outside "
    "it and users known only by an audience must be the same."
)
AT_ONCE: Final = 25
"""Rules of one lake and one server."""
FIRST: Final = 1_000
"""Seed of the first lake, which the containers suite does not use."""


def run(scale: Scale, say: Say, kept: Kept) -> Section:
    """Ask all rules until the time is over."""
    began = time.monotonic()
    asked, matched, failures = 0, 0, []
    for first in range(FIRST, FIRST + scale.rules, AT_ONCE):
        if first not in kept:
            if time.monotonic() - began > scale.deadline_s:
                failures.append(f"only {asked} of {scale.rules} rules were asked within the time")
                break
            kept[first] = _ask(min(AT_ONCE, FIRST + scale.rules - first), first)
        number, members, differences = kept[first]
        asked, matched, failures = asked + number, matched + members, failures + differences
        say(f"{asked} rules, {len(failures)} differences")
    return Section(
        summary=f"{asked} random rules, {matched} of which match somebody: {len(failures)} differences between Spark "
        "and DuckDB.",
        text=(ABOUT,),
        failures=failures,
    )


def _ask(number: int, first: int) -> tuple[int, int, list[str]]:
    """Rules that were asked, rules that match somebody, and what the engines answer differently."""
    with tempfile.TemporaryDirectory() as folder, engines(Path(folder), cases(number, first)) as both:
        differences = [found for one in both.asked for found in both.differences(one)]
        matched = sum(both.duckdb.count(one.duckdb, one.case.at) > 0 for one in both.asked if not differences)
        return len(both.asked), matched, differences


COVERS: Final = (
    "connectors/lake",
    "connectors/storage",
    "schemas",
    "segmentation",
    "uv.lock",
)
EXHIBIT: Final = Exhibit(name="spark", title="Rules on Spark", covers=COVERS, run=run)
