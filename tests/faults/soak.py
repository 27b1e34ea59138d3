"""Soak: imports, exports and changes of rules for a long time, with faults; nothing may grow, leak or lag behind.

`python -m tests.faults.soak`. Faults here are those of links and of tasks, which leave the long-lived processes alone:
it is their memory that is watched.
"""

import argparse
import itertools
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.clock import fresh_id
from orchestration.operations.export_jobs import submit
from orchestration.operations.segments import create, edit, find, read_rule, segment_record, turn
from orchestration.steps.exports.request import ExportRequest
from schemas.layout import split_s3_uri
from schemas.manifest import ExportFormat
from segmentation.export_jobs import ENDED
from tests.faults.imports import Audience, choose_file, differs, faulted_import
from tests.faults.kinds import KINDS, Kind
from tests.faults.readers import SCHEMA, Lake, Published, Reader
from tests.faults.stack import FaultedStack, faulted_stack
from tests.faults.sweep import AUDIENCES, FIRST_SEED, afterwards
from tests.faults.waiting import until
from tests.integration.whole_imports import TENANT

TURNS: Final = 200
MEASURED_EVERY: Final = 4
EXPORT_EVERY: Final = 4
RULE_EVERY: Final = 3
WATCHED: Final = ("relay", "worker-1", "worker-2", "segment-worker-1")
"""Long-lived processes. The engine is not among them: the local one keeps every execution in memory."""
SLACK_BYTES: Final = 48 * 2**20
SLACK_SHARE: Final = 1.15
SLACK_FILES: Final = 24
"""Connections come and go in pools."""
SEGMENT: Final = "soaked"
SHAKING: Final = frozenset({"kill worker", "disk full server", "disk error server"})
"""Kinds that end processes which are watched, or make them begin anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """At the end of a turn: bytes of memory and open files of each watched process, files in the home directory."""

    turn: int
    memory: Mapping[str, int]
    open_files: Mapping[str, int]
    files: int


def measure(stack: FaultedStack, number: int) -> Measure:
    """Now. A process that is just being restarted has no figure."""
    processes = {name: psutil.Process(pid) for name in WATCHED if (pid := stack.pid(name)) is not None}
    own = (f for f in stack.settings.home.rglob("*") if f.is_file() and not _of_servers(stack, f))
    return Measure(
        turn=number,
        memory={name: process.memory_info().rss for name, process in processes.items()},
        open_files={name: process.num_fds() for name, process in processes.items()},
        files=sum(1 for _ in own),
    )


def _of_servers(stack: FaultedStack, file: Path) -> bool:
    """Data of the servers grows with what is published; logs and traces are ours to keep."""
    return file.relative_to(stack.settings.home).parts[0] in {"kafka", "s3", "logs", "faults"}


def grown(measures: Sequence[Measure]) -> list[str]:
    """What is larger in the last quarter than in the second one by more than its slack; the first is for warming up."""
    quarter = max(1, len(measures) // 4)
    early, late = measures[quarter : 2 * quarter], measures[-quarter:]
    found = []
    for name in WATCHED:
        before, after = (_median(m.memory.get(name) for m in part) for part in (early, late))
        if after > before * SLACK_SHARE + SLACK_BYTES:
            found.append(f"{name} has grown from {before / 2**20:.0f} to {after / 2**20:.0f} MiB")
        before, after = (_median(m.open_files.get(name) for m in part) for part in (early, late))
        if after > before + SLACK_FILES:
            found.append(f"{name} has {after:.0f} open files, it had {before:.0f}")
    before, after = (_median(m.files for m in part) for part in (early, late))
    if after > before + SLACK_FILES:
        found.append(f"{after:.0f} files in the home directory, there were {before:.0f}")
    return found


def _median(values: Iterator[int | None]) -> float:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else 0.0


def exported(stack: FaultedStack, audience: Audience) -> list[str]:
    """Export the newest version as Parquet; what is wrong with what the receiver finds."""
    context, export_id = stack.context, fresh_id()
    to = f"s3://{stack.settings.lake_bucket}/exports/{export_id}"
    request = ExportRequest(
        export_id=export_id,
        tenant=TENANT,
        audience=audience.published.name,
        to=to,
        format=ExportFormat(format="parquet"),
        version=audience.published.at_least,
    )

    def ended() -> Any:
        found = context.exports.find(export_id)
        return found if found is not None and found.state in ENDED else None

    until(lambda: submit(context, request), "an export that is begun")
    export = until(ended, f"the end of export {export_id}", timeout_s=300)
    if export.state != "READY":
        return [f"export {export_id}: {export.state}, {export.error}"]
    bucket, prefix = split_s3_uri(to)
    keys = [entry.key for entry in context.objects.list(bucket, prefix) if entry.key.endswith(".parquet")]
    store = context.s3.filesystem()
    tables = [pq.read_table(f"{bucket}/{key}", filesystem=store) for key in keys]
    rows = [table.select([n for n in SCHEMA.names if n in table.column_names]) for table in tables]
    found = pa.concat_tables(rows, promote_options="permissive")
    for name in SCHEMA.names:
        if name not in found.column_names:
            found = found.append_column(name, pa.nulls(len(found), SCHEMA.field(name).type))
    problem = differs(found.select(SCHEMA.names), audience.published.versions[audience.published.at_least])
    return [f"export {export_id}: {problem}"] if problem else []


def change_rule(stack: FaultedStack, number: int) -> None:
    """Create, edit, pause, resume, edit and delete one segment, a step a turn, again and again."""
    rule = read_rule(f"count(purchase, {number + 1}d) >= 1 or in audience faulted-{number % AUDIENCES}", None)
    steps: tuple[Callable[[], object], ...] = (
        lambda: create(stack.context, TENANT, SEGMENT, rule, "soak"),
        lambda: edit(stack.context, TENANT, SEGMENT, rule, "soak"),
        lambda: turn(stack.context, TENANT, SEGMENT, "pause"),
        lambda: turn(stack.context, TENANT, SEGMENT, "resume"),
        lambda: edit(stack.context, TENANT, SEGMENT, rule, "soak"),
        lambda: turn(stack.context, TENANT, SEGMENT, "delete"),
    )
    until(lambda: steps[number % len(steps)]() is not None, "a change of a rule")


def heard_of_a_rule(stack: FaultedStack) -> list[str]:
    """After all that, every partition takes a new rule and says so. (Nobody is in it: no event and no profile is.)"""
    create(stack.context, TENANT, "last", read_rule("in audience faulted-0", None), "soak")

    def complete() -> bool:
        record = segment_record(find(stack.context, TENANT, "last"), stack.settings.partitions, 0)
        return bool(record["complete"]) and record["members"] == 0

    try:
        until(complete, "a rule that all partitions have taken", timeout_s=180)
    except AssertionError as exc:
        return [str(exc)]
    return []


def soak(turns: int, *, report: Callable[[str], None]) -> list[str]:
    """Everything that is wrong."""
    folder = Path(tempfile.mkdtemp(prefix="muster-soak-"))
    calm = [k for k in KINDS.values() if None in k.begins and k.name not in SHAKING]
    try:
        with faulted_stack(folder, segments=True) as stack:
            possible = [kind for kind in calm if kind.impossible(postgres=stack.has_postgres) is None]
            return list(_on(stack, folder, turns, possible, report))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _on(
    stack: FaultedStack, folder: Path, turns: int, calm: Sequence[Kind], report: Callable[[str], None]
) -> Iterator[str]:
    measures, rules = list[Measure](), itertools.count()
    audiences = [Audience(Published(name=f"faulted-{n}")) for n in range(AUDIENCES)]
    began = time.monotonic()
    with (
        closing(Lake(stack.settings)) as lake,
        Reader(stack.settings, [a.published for a in audiences]) as reader,
    ):
        for number in range(turns):
            seed, audience = FIRST_SEED + number, audiences[number % AUDIENCES]
            kind = random.Random(seed).choice(calm)
            file = choose_file(folder, seed, audience.members, rows=kind.rows)
            result = faulted_import(stack, lake, audience, kind, file, seed=seed)
            yield from (f"turn {number}, {kind.name}: {violation}" for violation in result.violations)
            file.path.unlink()
            for old in sorted(audience.published.versions)[:-2]:
                del audience.published.versions[old]
            if number % EXPORT_EVERY == EXPORT_EVERY - 1 and audience.published.at_least:
                yield from exported(stack, audience)
            if number >= AUDIENCES and number % RULE_EVERY == 0:
                change_rule(stack, next(rules))
            if number % MEASURED_EVERY == 0:
                measures.append(measure(stack, number))
                memory = ", ".join(f"{n} {b / 2**20:.0f} MiB" for n, b in measures[-1].memory.items())
                report(f"turn {number} after {time.monotonic() - began:.0f} s: {result.state}; {memory}")
        yield from heard_of_a_rule(stack)
    yield from reader.violations
    yield from afterwards(stack)
    yield from grown(measures)
    first, last = measures[0], measures[-1]
    report(f"{turns} imports, {reader.reads} reads; files in the home {first.files} -> {last.files}")
    for name in WATCHED:
        report(f"{name}: {first.memory.get(name, 0) / 2**20:.0f} -> {last.memory.get(name, 0) / 2**20:.0f} MiB")


def main() -> int:
    """Exit code: 0 when nothing is wrong, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--turns", type=int, default=TURNS, help="imports (default: %(default)s)")
    wrong = soak(parser.parse_args().turns, report=lambda line: print(line, flush=True))  # noqa: T201 - a command
    for violation in wrong:
        print(f"VIOLATION: {violation}", file=sys.stderr)  # noqa: T201
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
