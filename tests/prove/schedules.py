"""The simulator at length: many seeds, every kind of fault seen, no invariant broken. One exhibit for each scenario."""

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Final

from tests.prove.exhibits import Exhibit, Say, Scale, Section, Table
from tests.prove.kept import Kept
from tests.prove.pool import in_processes
from tests.simulation.run import IMPORTS, SCENARIOS, SEGMENTS, Scenario, run_many

OF_IMPORTS: Final = (
    "The real handlers, relay, sweeper, workers, catalog (SQL), publish rules and state machine definition run on a "
    "simulated log, object store, lake catalog, workflow engine and clock, one deterministic history a seed. After "
    "every step: no version has a lost, doubled or foreign member, versions only grow, no file of a visible version is "
    "deleted, no partition is called broken whose chunks are in the log. At the end, with the faults over: every job "
    "has ended, rightly, its receipt adds up, and no result that was announced is staged any more."
)
OF_SEGMENTS: Final = (
    "The real workers of segments (owners of partitions, folds, checkpoints, recovery, archive files) and the real "
    "committer of the archive run on a simulated log, object store and lake, with clocks that are up to 75 seconds "
    "off. Producers send events that are late, in the future, misplaced, repeated or invalid; meanwhile rules and "
    "audiences change, segments are paused, and logs are lost and recreated. `docs/follow_segments.py`, the script for "
    "receivers, reads the log of changes. An oracle evaluates every rule by definition, over all records of the log. "
    "After every fold of an owner, and at every position that the log of changes or a report names, the members are "
    "those of the oracle, and a receiver has them too: no user enters or leaves twice, no message is missing, no "
    "position goes back, no paused segment changes. Snapshots have the members of their position, and a receiver that "
    "begins with one ends up with the members of one that has read everything. At the end, with the faults over: the "
    "archive has every record once, every misplaced event was forwarded, every refused record is a dead letter, and "
    "everything is acknowledged."
)
AT_ONCE: Final = 250
"""Schedules given to a process at a time."""


@dataclass
class Tally:
    """The sums over some schedules."""

    schedules: int
    steps: int
    published: int
    counts: Counter[str]
    failures: list[tuple[int, str]]


def run_range(name: str, start: int, stop: int) -> Tally:
    """Run the schedules of a range of seeds."""
    tally = Tally(0, 0, 0, Counter(), [])
    for result in run_many(SCENARIOS[name], range(start, stop)):
        tally.schedules += 1
        tally.steps += result.steps
        tally.published += result.published
        tally.counts += result.counts
        if result.failure is not None:
            tally.failures.append((result.seed, result.failure))
    return tally


def run(scenario: Scenario, about: str, published: str, scale: Scale, say: Say, kept: Kept) -> Section:
    """Run all seeds below `scale.schedules`."""
    total = Tally(0, 0, 0, Counter(), [])
    starts = range(0, scale.schedules, AT_ONCE)
    work = [(scenario.name, start, min(start + AT_ONCE, scale.schedules)) for start in starts]
    for _, tally in in_processes(run_range, work, kept=kept, processes=scale.processes, deadline_s=scale.deadline_s):
        total.schedules += tally.schedules
        total.steps += tally.steps
        total.published += tally.published
        total.counts += tally.counts
        total.failures += tally.failures
        say(f"{total.schedules:,} of {scale.schedules:,} schedules, {len(total.failures)} failed")
    missing = [kind for kind in scenario.situations if not total.counts[kind]]
    failures = [f"{failure} - replay it: {scenario.replay_command(seed)}" for seed, failure in sorted(total.failures)]
    if total.schedules < scale.schedules:
        failures.append(f"only {total.schedules:,} of {scale.schedules:,} schedules ran within the time")
    if missing:
        failures.append(f"never took place: {', '.join(missing)}")
    return Section(
        summary=(
            f"{total.schedules:,} schedules, {total.steps:,} steps, {total.published:,} {published}: "
            f"{len(total.failures)} broke an invariant."
        ),
        text=(about,),
        tables=(
            Table(
                text="What took place, and how often:",
                header=("fault or situation", "times"),
                rows=[(kind, f"{total.counts[kind]:,}") for kind in scenario.situations],
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
    "connectors/sources/file_set.py",
    "connectors/sources/job.py",
    "connectors/sources/ranges.py",
    "connectors/sources/units.py",
    "connectors/storage",
    "connectors/verification",
    "orchestration/catalog",
    "orchestration/composition",
    ":!orchestration/composition/service.py",
    "orchestration/control",
    "orchestration/entrypoints/handlers.py",
    "orchestration/entrypoints/tasks.py",
    "orchestration/entrypoints/unit_handlers.py",
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
COVERS_OF_SEGMENTS: Final = (
    "connectors/kafka/log_offsets.py",
    "connectors/lake/archive_commit.py",
    "connectors/storage/access.py",
    "docs/follow_segments.py",
    "orchestration/control/archive_consumer.py",
    "orchestration/control/producer.py",
    "schemas",
    "segmentation/archived.py",
    "segmentation/archiving.py",
    "segmentation/evaluation",
    "segmentation/expressions",
    "segmentation/intake",
    "segmentation/partitions",
    "segmentation/rules",
    "streams/background.py",
    "streams/guards.py",
    "streams/lanes.py",
    "streams/record_batches.py",
    "streams/segments",
)
"""Workers of segments without Faust, the log of changes, and the committer of the archive without Iceberg."""
EXHIBIT: Final = Exhibit(
    name="schedules",
    title="Simulated schedules",
    covers=COVERS,
    run=partial(run, IMPORTS, OF_IMPORTS, "versions published"),
)
SEGMENTS_EXHIBIT: Final = Exhibit(
    name="segments",
    title="Simulated schedules of segments",
    covers=COVERS_OF_SEGMENTS,
    run=partial(run, SEGMENTS, OF_SEGMENTS, "changes received"),
)
