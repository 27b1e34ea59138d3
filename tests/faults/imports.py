"""One faulted import: a real file, one fault, readers meanwhile, and a comparison with the oracle at the end."""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import duckdb
from botocore.exceptions import BotoCoreError, ClientError

from orchestration.catalog.records import Job, Retention
from orchestration.local.engine.inbox import listing
from orchestration.platform.clock import fresh_id
from schemas.columns import ImportMode
from schemas.ids import AudienceName
from schemas.layout import staging_prefix
from tests.faults import files
from tests.faults.files import Members, SourceFile
from tests.faults.kinds import Kind, fault
from tests.faults.readers import Lake, Published, view
from tests.faults.stack import FaultedStack
from tests.faults.waiting import ended, job_of, state_reached, until
from tests.integration.whole_imports import TENANT

CLEAN_TIMEOUT_S: Final = 120.0
IN_TURN: Final = 3


@dataclass(slots=True)
class Audience:
    """An audience that is imported into again and again: its members, and the versions that may exist."""

    published: Published
    members: Members = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How one faulted import ended. `violations`: what must never happen; normally empty."""

    kind: str
    seed: int
    struck: int
    state: str
    cause: str
    seconds: float
    violations: tuple[str, ...]


class Audiences:
    """Audiences that are imported into in turn, and another one for click logs, which have other columns."""

    def __init__(self) -> None:
        self.clicks, *self.in_turn = (Audience(Published(name=f"faulted-{n}")) for n in range(1 + IN_TURN))

    def __iter__(self) -> Iterator[Audience]:
        yield from (self.clicks, *self.in_turn)

    def choose(self, folder: Path, number: int, seed: int, *, rows: int | None) -> tuple[SourceFile, Audience]:
        """A file for an import, and the audience for it: that whose turn it is by the number of the import."""
        audience = self.in_turn[number % IN_TURN]
        file = _file(folder, seed, audience.members, rows=rows)
        return file, audience if file.has_columns_of_ours else self.clicks


def _file(folder: Path, seed: int, base: Members, *, rows: int | None) -> SourceFile:
    """A file for one import: now and then a click log, else a generated one. The audience must not become empty."""
    dice = random.Random(seed)
    if rows is None and dice.random() < 0.15:
        return files.clicks(folder, seed)
    modes: tuple[ImportMode, ...] = ("replace", "append", "remove")
    mode = dice.choices(modes, (4, 3, 1))[0] if base else "replace"
    file = files.make_file(folder, seed, rows=rows, mode=mode)
    if not files.after(base, file):
        return files.make_file(folder, seed, rows=rows, mode="replace")
    return file


def faulted_import(
    stack: FaultedStack, lake: Lake, audience: Audience, kind: Kind, file: SourceFile, *, seed: int
) -> Result:
    """Run one import under its fault. Raises `AssertionError` when something hangs."""
    began = time.monotonic()
    context, dice = stack.context, random.Random(seed)
    name = audience.published.name
    expected = files.after(audience.members, file)
    audience.published.expect(expected)
    before = audience.published.at_least
    until(lambda: configured(stack, name, file), f"the spec of {name}")
    key = f"{TENANT}/{name}/{file.path.name}"
    with ExitStack() as harm:
        begins = dice.choice(kind.begins)
        struck = harm.enter_context(fault(kind, stack, seed)) if begins is None else None
        upload(stack, file.path, key)
        stored = until(lambda: stored_versions(stack, key), f"the versions of {key}")
        audience.published.expect(expected, imports=len(stored))
        jobs = [job_of(context, name, key, version) for version in stored]
        if begins is not None:
            state_reached(context, jobs[0].job_id, begins)
            struck = harm.enter_context(fault(kind, stack, seed))
        jobs = [ended(context, job.job_id) for job in jobs]
    settle(stack)
    violations = list(faults_of(stack, lake, audience, jobs, file, expected))
    if ready := sum(job.state == "READY" for job in jobs):
        audience.published.at_least, audience.members = before + ready, expected
    for number in range(before + ready + 1, before + len(jobs) + 1):
        del audience.published.versions[number]
    assert struck is not None
    return Result(
        kind=kind.name,
        seed=seed,
        struck=struck(),
        state="READY" if ready else jobs[0].state,
        cause=next((job.error.code for job in jobs if job.error is not None), ""),
        seconds=time.monotonic() - began,
        violations=tuple(violations),
    )


def configured(stack: FaultedStack, name: str, file: SourceFile) -> bool:
    """Give the audience the spec of the file."""
    audiences = stack.context.audiences
    record = audiences.ensure(TENANT, AudienceName(name), new_id=fresh_id(), now_ms=1)
    audiences.configure(record.audience_id, spec=file.spec, retention=Retention())
    return True


def upload(stack: FaultedStack, path: Path, key: str) -> None:
    """Put the file into the inbox, retrying as often as needed: S3 may be the server that fails."""

    def put() -> bool:
        stack.context.objects.put_file(path, stack.settings.inbox_bucket, key)
        return True

    until(put, f"the upload of {key}")


def stored_versions(stack: FaultedStack, key: str) -> list[str] | None:
    """Ids of the versions that the inbox has of an object, each of which is an import. None while S3 is down.

    A server whose disk fails may store what it refuses: the client repeats the upload, and two versions are there.
    """
    try:
        return [found.version_id for found in listing(stack.settings) if found.key == key]
    except (BotoCoreError, ClientError):
        return None


def settle(stack: FaultedStack) -> None:
    """Wait until every part is up again."""
    until(stack.ready, "a stack that is whole again", timeout_s=240)


def faults_of(
    stack: FaultedStack, lake: Lake, audience: Audience, jobs: Sequence[Job], file: SourceFile, expected: Members
) -> Iterator[str]:
    """Yield every problem that the imports of a file have left; nothing if all is well."""
    published = audience.published
    before = published.at_least
    seen = view(lake, published.name, before)
    newest, rows = seen.newest or (0, None)
    if before and (problem := differs(seen.before, published.versions[before])):
        yield f"v{before}, the version before, has changed: {problem}"
    ready = sum(job.state == "READY" for job in jobs)
    for job in jobs:
        if job.state != "SUPERSEDED" or not ready:  # by the repeated upload
            yield from faults_of_job(stack, job, file, expected)
    number, tags = before + ready, {f"v{n}" for n in range(1, before + ready + 1)}
    if newest != number:
        yield f"{ready} of {len(jobs)} READY, but the newest version is v{newest}, not v{number}"
    elif ready and (problem := differs(rows, published.versions[number])):
        yield f"v{number}: {problem}"
    if seen.tags != tags:
        yield f"tags {sorted(seen.tags)}, not {sorted(tags)}"


def faults_of_job(stack: FaultedStack, job: Job, file: SourceFile, expected: Members) -> Iterator[str]:
    """Yield what is wrong with how an import ended, and with its receipt."""
    match job.state:
        case "READY":
            yield from receipt_faults(stack.context.jobs.receipt(job.job_id), file, expected)
        case "FAILED":
            if job.error is None or not job.error.code or not job.error.message:
                yield "FAILED without a cause"
            elif job.error.kind == "user":  # the oracle knows that every file is good
                yield f"FAILED, and the file is blamed: {job.error.code}"
        case _:
            yield f"ended as {job.state}"


def differs(found: Any, expected: Any) -> str | None:
    """Describe how rows differ from those of the oracle, compared by DuckDB. None if they do not."""
    with duckdb.connect() as connection:
        connection.register("found", found)
        connection.register("expected", expected)
        lost, foreign, doubled = connection.sql(
            "SELECT (SELECT count(*) FROM (FROM expected EXCEPT ALL FROM found)),"
            " (SELECT count(*) FROM (FROM found EXCEPT ALL FROM expected)),"
            " (SELECT count(*) - count(DISTINCT user_id) FROM found)"
        ).fetchall()[0]
    if (lost, foreign, doubled) == (0, 0, 0):
        return None
    return f"{lost} rows lost, {foreign} foreign, {doubled} users doubled"


def receipt_faults(receipt: Mapping[str, Any] | None, file: SourceFile, expected: Members) -> Iterator[str]:
    """Yield each sum of the receipt that differs from the oracle."""
    if receipt is None:
        yield "READY without a receipt"
        return
    wanted = {
        "rows": file.rows,
        "accepted": file.accepted,
        "rejected": file.rejected,
        "distinct": len(file.members),
        "duplicates": file.accepted - len(file.members),
        "members": len(expected),
    }
    for name, value in wanted.items():
        if receipt[name] != value:
            yield f"the receipt says {name} {receipt[name]}, not {value}"


def left_behind(stack: FaultedStack) -> list[str]:
    """Staged objects of ended jobs that remain after garbage collection has had its time."""
    context = stack.context
    deadline = time.monotonic() + CLEAN_TIMEOUT_S
    while True:
        jobs = context.jobs.search(limit=100_000)
        left = [
            entry.key
            for job in jobs
            for entry in context.objects.list(stack.settings.staging_bucket, staging_prefix(job.job_id))
        ]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(1)
