"""Soak: imports, exports and rule changes for a long time, with faults; nothing may grow, leak or lag behind.

`python -m tests.faults.soak`, and the exhibit `soak` of `make soak`. Only links and tasks fail here. The long-lived
processes are left alone, because their memory is measured.
"""

import argparse
import itertools
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from connectors.storage.listing import ObjectInfo, list_objects
from orchestration.catalog.references import ref_of
from schemas.ids import AudienceName
from schemas.layout import audience_prefix
from schemas.topics import ACTIVITY_TOPICS, SEGMENT_WORKER_GROUP
from segmentation.versions import AudienceRef
from tests.faults.exports import exported
from tests.faults.growth import Measure, grown, measure, table
from tests.faults.imports import IN_TURN, Audience, Audiences, faulted_import
from tests.faults.kinds import KINDS, Kind
from tests.faults.readers import Lake, Reader
from tests.faults.segments import Visitors, change_rule, wrong_in_the_end
from tests.faults.stack import FaultedStack, faulted_stack
from tests.faults.sweep import FIRST_SEED, afterwards
from tests.integration.whole_imports import TENANT
from tests.integration.workers import committed_everything
from tests.waiting import until

TURNS: Final = 200
MEASURED_EVERY: Final = 4
EXPORT_EVERY: Final = 4
RULE_EVERY: Final = 3
KEPT: Final = 3
"""Versions that each audience keeps at the end."""
SHAKING: Final = frozenset({"kill worker", "disk full server", "disk error server"})
"""Kinds that end watched processes or make them restart."""


@dataclass(slots=True)
class Soak:
    """What was done, what was measured meanwhile, and what is wrong."""

    imports: int = 0
    ready: int = 0
    exports: int = 0
    rules: int = 0
    visitors: int = 0
    reads: int = 0
    measures: list[Measure] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def soak(turns: int, *, report: Callable[[str], None], minutes: float = float("inf")) -> Soak:
    """Run up to `turns` turns, as far as `minutes` allow."""
    folder = Path(tempfile.mkdtemp(prefix="muster-soak-"))
    calm = [k for k in KINDS.values() if None in k.begins and k.name not in SHAKING]
    done, ends = Soak(), time.monotonic() + 60 * minutes
    numbers = itertools.takewhile(lambda _: time.monotonic() < ends, range(turns))
    try:
        with faulted_stack(folder, segments=True) as stack:
            possible = [kind for kind in calm if kind.impossible(postgres=stack.has_postgres) is None]
            done.wrong += _on(stack, folder, done, numbers, possible, report)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return done


def _on(
    stack: FaultedStack,
    folder: Path,
    done: Soak,
    numbers: Iterator[int],
    calm: Sequence[Kind],
    report: Callable[[str], None],
) -> Iterator[str]:
    audiences = Audiences()
    began = time.monotonic()
    visitors = Visitors(stack)
    with (
        closing(Lake(stack.settings)) as lake,
        Reader(stack.settings, [a.published for a in audiences]) as reader,
    ):
        for number in numbers:
            seed = FIRST_SEED + number
            dice = random.Random(seed)
            kind = dice.choice(calm)
            file, audience = audiences.choose(folder, number, seed, rows=kind.rows)
            result = faulted_import(stack, lake, audience, kind, file, seed=seed)
            yield from (f"turn {number}, {kind.name}: {violation}" for violation in result.violations)
            done.imports, done.ready = done.imports + 1, done.ready + (result.state == "READY")
            file.path.unlink()
            for old in sorted(audience.published.versions)[:-2]:
                del audience.published.versions[old]
            visitors.visit(audience.members, dice)
            if number % EXPORT_EVERY == EXPORT_EVERY - 1 and audience.published.at_least:
                yield from exported(stack, audience)
                done.exports += 1
            if number >= IN_TURN and number % RULE_EVERY == 0 and audience.published.at_least:
                change_rule(stack, done.rules, audience.published.name)
                done.rules += 1
            if number % MEASURED_EVERY == 0:
                done.measures.append(measure(stack, number))
                memory = ", ".join(f"{n} {b / 2**20:.0f} MiB" for n, b in done.measures[-1].memory.items())
                report(f"turn {number} after {time.monotonic() - began:.0f} s: {result.state}; {memory}")
        first = audiences.in_turn[0]
        done.visitors = len(visitors.seen)
        yield from wrong_in_the_end(stack, first.published.name, len(visitors.seen & first.members.keys()))
        for audience in audiences:
            yield from leaked(stack, lake, audience)
    done.reads = reader.reads
    yield from reader.violations
    yield from afterwards(stack)
    yield from lagging(stack)
    yield from grown(done.measures)


def leaked(stack: FaultedStack, lake: Lake, audience: Audience) -> Iterator[str]:
    """Tags and objects that remain although all versions but the `KEPT` newest have expired."""
    name, newest = audience.published.name, audience.published.at_least
    record = stack.context.audiences.get(TENANT, AudienceName(name))
    kept = stack.context.audiences.retained(record.audience_id)
    before: set[str] = set()
    for again in (False, True):
        gone = stack.context.versions.expire(
            ref_of(record),
            keep_last=KEPT,
            keep_younger_than=timedelta(0),
            now=datetime.now(UTC),
            pins=kept,
            grace=timedelta(0),
        )
        left = {f"{entry.key} of {entry.last_modified:%H:%M:%S}" for entry in stored(stack, ref_of(record))}
        if again and (gone.versions or gone.files):
            what = f"{len(gone.versions)} versions and {gone.files} objects {sorted(before - left)}"
            yield f"{name}: {what} were left behind by an expiry at {datetime.now(UTC):%H:%M:%S}"
        before = left
    wanted = {f"v{n}" for n in {*range(max(1, newest - KEPT + 1), newest + 1), *kept}}
    if (tags := set(lake.tags(name))) != wanted:
        yield f"{name}: tags {sorted(tags)} are left, not {sorted(wanted)}"


def stored(stack: FaultedStack, audience: AudienceRef) -> Iterator[ObjectInfo]:
    """Objects of an audience in the lake."""
    client, prefix = stack.context.s3.client(), audience_prefix(audience.tenant, audience.audience_id)
    return list_objects(client, stack.settings.lake_bucket, prefix)


def lagging(stack: FaultedStack) -> Iterator[str]:
    """A violation if segment workers have not consumed everything."""
    try:
        until(lambda: committed_everything(stack.settings, SEGMENT_WORKER_GROUP, ACTIVITY_TOPICS))
    except AssertionError:
        yield "workers of segments have not acknowledged everything"


def main() -> int:
    """Return the exit code: 0 when nothing is wrong, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--turns", type=int, default=TURNS, help="imports (default: %(default)s)")
    done = soak(parser.parse_args().turns, report=lambda line: print(line, flush=True))  # noqa: T201 - a command
    print(f"{done.imports} imports, {done.ready} READY, {done.exports} exports, {done.rules} changes of rules")  # noqa: T201
    for name, *memory, open_files in table(done.measures):
        print(f"{name}: {' -> '.join(memory)} MiB in the quarters; open files {open_files}")  # noqa: T201
    for violation in done.wrong:
        print(f"VIOLATION: {violation}", file=sys.stderr)  # noqa: T201
    return 1 if done.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
