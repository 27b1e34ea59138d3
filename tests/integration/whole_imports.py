"""Imports through the whole stack: files, jobs, published versions, and processes to kill."""

import os
import random
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pyarrow.parquet as pq
import sqlalchemy as sa

from orchestration.catalog.engine import LOCK_TIMEOUT_S
from orchestration.catalog.records import Job
from orchestration.catalog.references import audience_ref
from orchestration.composition.context import Context
from orchestration.local import processes
from orchestration.local import stack as local_stack
from orchestration.local.engine.lambda_processes import SERVER
from orchestration.platform.clock import fresh_id
from schemas.ids import AudienceName, TenantName, Version
from schemas.import_spec import ImportSpec
from schemas.layout import split_s3_uri
from schemas.messages import JobState
from segmentation.jobs import FINAL
from tests.waiting import until

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.type_defs import HistoryEventTypeDef

TENANT = TenantName("default")
STEPS: tuple[JobState, ...] = ("VERIFYING", "IMPORTING", "AWAITING", "BUILDING", "PUBLISHING")
"""States of an append, without REGISTERED: if there is room, a job is admitted as it is registered."""
IMPORTER, WORKER = "orchestration.entrypoints.container task import", "orchestration.entrypoints.worker"
VERIFIER, RELAY, ENGINE = (
    "orchestration.entrypoints.container task verify",
    "orchestration.entrypoints.control_plane",
    "engine.server",
)


def write_file(path: Path, seed: int, rows: int) -> set[str]:
    """A file with duplicates; returns its distinct users."""
    dice = random.Random(seed)
    users = [f"user-{seed}-{dice.randrange(rows)}" for _ in range(rows)]
    path.write_text("user_id\n" + "\n".join(users) + "\n")
    return set(users)


def upload(context: Context, path: Path, audience: str) -> None:
    context.objects.put_file(path, context.settings.inbox_bucket, f"{TENANT}/{audience}/{path.name}")


def prepare_append(context: Context, path: Path, audience: str, *, rows: int = 50_000) -> set[str]:
    """Create an audience for appends, and a file for it; returns the file's users."""
    spec = ImportSpec(mode="append")
    context.audiences.ensure(TENANT, AudienceName(audience), new_id=fresh_id(), now_ms=1, spec=spec)
    return write_file(path, len(audience), rows=rows)


def start_append(context: Context, folder: Path, audience: str, *, rows: int = 50_000) -> tuple[Job, set[str]]:
    """Start an append, which passes through every state; returns the job and the users of its file."""
    users = prepare_append(context, folder / "a.csv", audience, rows=rows)
    upload(context, folder / "a.csv", audience)
    return job_of(context, audience), users


def await_state(context: Context, job: Job, state: JobState, timeout_s: float = 120) -> None:
    """Wait until the job is in a state."""
    until(
        lambda: any(t.state == state for t in context.jobs.history(job.job_id)),
        f"job {job.job_id} {state}",
        timeout_s=timeout_s,
        poll_s=0.005,
    )


def sending(context: Context, audience: str) -> Job:
    """Wait until the importer has begun to send the rows of the audience's job."""
    job_id = job_of(context, audience).job_id

    def begun() -> Job | None:
        job = context.jobs.get(job_id)
        assert job.attempt or job.state not in FINAL
        return job if job.attempt else None

    return until(begun, f"an attempt of job {job_id}", timeout_s=300, poll_s=0.01)


def history(context: Context, execution: str | None) -> "list[HistoryEventTypeDef]":
    """The workflow engine's history of an execution."""
    assert execution is not None
    return context.workflow.get_execution_history(executionArn=execution, maxResults=1000)["events"]


def failed_tries(context: Context, execution: str | None) -> list[str]:
    """Errors of an execution's failed steps as the workflow saw them, in order."""
    return [e["taskFailedEventDetails"]["error"] for e in history(context, execution) if e["type"] == "TaskFailed"]


def entered(context: Context, execution: str | None) -> list[str]:
    """States that an execution has entered, in order."""
    events = history(context, execution)
    return [e["stateEnteredEventDetails"]["name"] for e in events if "stateEnteredEventDetails" in e]


def job_of(context: Context, audience: str, tenant: TenantName = TENANT, timeout_s: float = 120) -> Job:
    return until(
        lambda: context.jobs.search(tenant=tenant, audience=audience), f"a job for {audience}", timeout_s=timeout_s
    )[0]


def newest_job_of(context: Context, audience: str, key: str, timeout_s: float = 120) -> Job:
    """The job started by the object with this key."""

    def find() -> Job | None:
        found = context.jobs.search(tenant=TENANT, audience=audience)
        return next((job for job in found if job.source["key"] == key), None)

    return until(find, f"a job for {key}", timeout_s=timeout_s)


def ended(context: Context, job: Job, timeout_s: float = 180) -> Job:
    def final() -> Job | None:
        found = context.jobs.get(job.job_id)
        return found if found.state in FINAL else None

    def way() -> str:
        return "\n".join(f"{t.at_ms} {t.state} {t.attempt} {t.cause}" for t in context.jobs.history(job.job_id))

    return until(final, way, timeout_s=timeout_s, poll_s=0.2)


def published(context: Context, job: Job) -> list[str]:
    """Members of the version that a job published, read file by file without Muster's reader."""
    assert job.outcome is not None
    users: list[str] = []
    for part in context.versions.files(audience_ref(job), Version(job.outcome["version"])):
        bucket, key = split_s3_uri(part.uri)
        with context.s3.filesystem().open_input_file(f"{bucket}/{key}") as file:
            users += pq.read_table(file, columns=["user_id"]).column("user_id").to_pylist()
    return users


def assert_published(context: Context, job: Job, users: set[str]) -> None:
    assert (job.state, job.error) == ("READY", None)
    members = published(context, job)
    assert len(members) == len(set(members))
    assert set(members) - users == set(), "members that are not in the file"
    assert users - set(members) == set(), "users of the file that were lost"
    receipt = context.jobs.receipt(job.job_id)
    assert receipt is not None
    assert (receipt["members"], receipt["distinct"]) == (len(users), len(users))


def running(context: Context, *names: str) -> list[psutil.Process]:
    found = []
    for process in processes.marked(context.settings.home):
        try:
            if any(name in " ".join(process.cmdline()) for name in names):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def function_pids(context: Context) -> list[int]:
    """Processes of functions, without the one that forks them."""
    found = running(context, SERVER)
    return [process.pid for process in found if process.parent() in found]


@contextmanager
def held(context: Context, name: str) -> Iterator[None]:
    """Suspend these processes, so that the block runs in the middle of their work."""
    found = running(context, name)
    assert found, f"no {name}"
    for process in found:
        process.suspend()
    try:
        yield
    finally:
        for process in found:
            process.resume()


def pid_of(context: Context, part: str) -> int | None:
    """Process id of a part of the stack; None while it is down."""
    found = local_stack.status(context.settings).part(part)
    assert found is not None
    return found.pid


def kill(context: Context, part: str) -> None:
    """kill -9; does nothing if the part is already down."""
    if (pid := pid_of(context, part)) is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@contextmanager
def nothing_started_again(context: Context) -> Iterator[None]:
    """Keep killed parts down inside the block."""
    supervisor = local_stack.status(context.settings).supervisor_pid
    assert supervisor is not None
    os.kill(supervisor, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(supervisor, signal.SIGCONT)


@contextmanager
def locked_catalog(context: Context) -> Iterator[None]:
    """Lock the catalog against changes by others inside the block."""
    database = sa.make_url(context.settings.catalog_url.reveal()).database
    assert database is not None
    other = sqlite3.connect(database, isolation_level=None, timeout=LOCK_TIMEOUT_S)
    other.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def kill_one(context: Context, dice: random.Random, *names: str) -> bool:
    if not (victims := running(context, *names)):
        return False
    try:
        dice.choice(victims).send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return False
    return True
