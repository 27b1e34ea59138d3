"""Servers that die or are away while whole imports run, and disks that are full."""

import contextlib
import os
import random
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestration.context import Context
from orchestration.settings import Settings
from orchestration.steps.references import audience_ref
from schemas.errors import MusterError
from schemas.messages import JobState
from tests.integration.whole_imports import TENANT, assert_published, ended, job_of, kill_one, upload, write_file

pytestmark = pytest.mark.integration

SERVERS = {"kafka": "kafka.Kafka", "s3": "weed"}
STEPS: tuple[JobState, ...] = ("VERIFYING", "IMPORTING", "AWAITING")
DISK_MIB = 1400
"""Enough for a stack: below 512 MiB of free space the S3 server takes no more."""


@pytest.fixture(scope="module")
def context(start_module_stack: Callable[..., Settings]) -> Context:
    made = Context(start_module_stack(parts=None, partitions=4, worker_session_timeout_s=6, lambda_file_bytes=-1))
    made.audiences.add_tenant(TENANT, now_ms=1)
    return made


def await_state(context: Context, audience: str, state: JobState) -> None:
    """Until the job has been in a state (it may be further already: short states are not always seen)."""
    deadline = time.monotonic() + 120
    job = job_of(context, audience)
    while time.monotonic() < deadline:
        if any(t.state == state for t in context.jobs.history(job.job_id)):
            return
        time.sleep(0.02)
    raise AssertionError(f"the job of {audience} was never {state}")


@pytest.mark.timeout(400)
@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("step", STEPS)
def test_a_server_that_dies_at_any_step_costs_time_and_nothing_else(
    context: Context, tmp_path: Path, server: str, step: JobState
) -> None:
    audience = f"{server}-{step.lower()}"
    users = write_file(tmp_path / "a.csv", len(audience), rows=50_000)
    upload(context, tmp_path / "a.csv", audience)
    await_state(context, audience, step)

    assert kill_one(context, random.Random(1), SERVERS[server])

    assert_published(context, ended(context, job_of(context, audience), timeout_s=300), users)


@pytest.mark.timeout(300)
def test_a_catalog_that_is_locked_for_a_while_is_waited_for(context: Context, tmp_path: Path) -> None:
    users = write_file(tmp_path / "a.csv", 3, rows=50_000)
    upload(context, tmp_path / "a.csv", "locked")
    await_state(context, "locked", "IMPORTING")
    database = sa.make_url(context.settings.catalog_url.reveal()).database
    assert database is not None

    other = sqlite3.connect(database, isolation_level=None, timeout=30)
    other.execute("BEGIN EXCLUSIVE")
    time.sleep(10)
    other.execute("ROLLBACK")
    other.close()

    assert_published(context, ended(context, job_of(context, "locked")), users)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with little room. Needs root, as CI has."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(ballast: Path) -> None:
    """Write until there is no room left."""
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1024 * 1024))


@pytest.mark.timeout(400)
def test_a_full_disk_never_makes_half_a_version_and_work_goes_on_when_there_is_room(
    small_disk: Path, start_stack: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = start_stack(parts=None, partitions=4, name=str(small_disk / "home"), worker_session_timeout_s=6)
    context = Context(settings)
    context.audiences.add_tenant(TENANT, now_ms=1)
    before = write_file(tmp_path / "before.csv", 1, rows=2_000)
    upload(context, tmp_path / "before.csv", "full")
    first = ended(context, job_of(context, "full"))
    assert_published(context, first, before)

    during = write_file(tmp_path / "during.csv", 2, rows=200_000)
    upload(context, tmp_path / "during.csv", "during")
    job = job_of(context, "during")
    ballast = small_disk / "ballast"
    fill(ballast)
    write_file(tmp_path / "late.csv", 3, rows=20_000)
    with pytest.raises(MusterError):
        upload(context, tmp_path / "late.csv", "full")
    assert_published(context, first, before)  # what was published stays readable
    ballast.unlink()

    job = ended(context, job, timeout_s=240)
    if job.state == "READY":
        assert_published(context, job, during)
    else:  # the retries were used up while there was no room
        assert (job.state, job.error and job.error.kind) == ("FAILED", "system")
        assert context.versions.current(audience_ref(job)) is None
    after = write_file(tmp_path / "after.csv", 4, rows=2_000)
    deadline = time.monotonic() + 120
    while True:
        try:
            upload(context, tmp_path / "after.csv", "after")
            break
        except MusterError:
            assert time.monotonic() < deadline
            time.sleep(2)
    assert_published(context, ended(context, job_of(context, "after")), after)
