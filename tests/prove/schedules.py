"""The simulator at length: many seeds, every kind of fault seen, no invariant broken."""

from collections import Counter
from dataclasses import dataclass
from typing import Final

from tests.prove.exhibits import Exhibit, Say, Scale, Section, Table
from tests.prove.kept import Kept
from tests.prove.pool import in_processes
from tests.simulation.faults import KINDS, SEEN
from tests.simulation.run import replay_command, run_many

ABOUT: Final = (
    "The real handlers, relay, sweeper, workers, catalog (SQL), publish rules and state machine definition run on a "
    "simulated log, object store, lake catalog, workflow engine and clock, one deterministic history a seed. After "
    "every step: no version has a lost, doubled or foreign member, versions only grow, no file of a visible version is "
    "deleted, no partition is called broken whose chunks are in the log. At the end, with the faults over: every job "
    "has ended, rightly, its receipt adds up, and no result that was announced is staged any more."
)
AT_ONCE: Final = 250
"""Schedules given to a process at a time."""


@dataclass
class Tally:
    """The sums over some schedules."""

    schedules: int
    steps: int
    versions: int
    counts: Counter[str]
    failures: list[tuple[int, str]]


def run_range(start: int, stop: int) -> Tally:
    """Run the schedules of a range of seeds."""
    tally = Tally(0, 0, 0, Counter(), [])
    for result in run_many(range(start, stop)):
        tally.schedules += 1
        tally.steps += result.steps
        tally.versions += result.versions
        tally.counts += result.counts
        if result.failure is not None:
            tally.failures.append((result.seed, result.failure))
    return tally


def run(scale: Scale, say: Say, kept: Kept) -> Section:
    """Run all seeds below `scale.schedules`."""
    total = Tally(0, 0, 0, Counter(), [])
    work = [(start, min(start + AT_ONCE, scale.schedules)) for start in range(0, scale.schedules, AT_ONCE)]
    for _, tally in in_processes(run_range, work, kept=kept, processes=scale.processes, deadline_s=scale.deadline_s):
        total.schedules += tally.schedules
        total.steps += tally.steps
        total.versions += tally.versions
        total.counts += tally.counts
        total.failures += tally.failures
        say(f"{total.schedules:,} of {scale.schedules:,} schedules, {len(total.failures)} failed")
    missing = [kind for kind in (*KINDS, *SEEN) if not total.counts[kind]]
    failures = [f"{failure} - replay it: {replay_command(seed)}" for seed, failure in sorted(total.failures)]
    if total.schedules < scale.schedules:
        failures.append(f"only {total.schedules:,} of {scale.schedules:,} schedules ran within the time")
    if missing:
        failures.append(f"never took place: {', '.join(missing)}")
    return Section(
        summary=(
            f"{total.schedules:,} schedules, {total.steps:,} steps, {total.versions:,} versions published: "
            f"{len(total.failures)} broke an invariant."
        ),
        text=(ABOUT,),
        tables=(
            Table(
                text="What took place, and how often:",
                header=("fault or situation", "times"),
                rows=[(kind, f"{total.counts[kind]:,}") for kind in (*KINDS, *SEEN)],
            ),
        ),
        failures=failures,
    )


COVERS: Final = (
    "schemas",
    ":(glob)segmentation/*.py",
    ":(glob)streams/*.py",
    "connectors/kafka/log_offsets.py",
    "connectors/kafka/worker_group.py",
    "connectors/lake",
    "connectors/publishing",
    "connectors/storage",
    "connectors/verification",
    "orchestration/catalog",
    "orchestration/composition",
    ":!orchestration/composition/service.py",
    "orchestration/control",
    "orchestration/entrypoints/handlers.py",
    "orchestration/entrypoints/tasks.py",
    "orchestration/kinds",
    ":!orchestration/kinds/export",
    ":!orchestration/kinds/snapshot",
    "orchestration/notifications",
    "orchestration/operations/audiences.py",
    "orchestration/operations/jobs.py",
    "orchestration/operations/scaling.py",
    "orchestration/operations/submit.py",
    "orchestration/operations/watching.py",
    "orchestration/platform/settings.py",
    "orchestration/workflow",
)
"""The life of an import, without parsers and without Faust; no segments, exports or snapshots."""
EXHIBIT: Final = Exhibit(name="schedules", title="Simulated schedules", covers=COVERS, run=run)
