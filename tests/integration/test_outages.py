"""Servers that die or are away while whole imports run, and full disks."""

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestration.catalog.references import audience_ref
from orchestration.composition.context import Context
from orchestration.local import stack as local_stack
from orchestration.platform.settings import Settings
from schemas.errors import MusterError
from schemas.messages import JobState
from tests.conftest import unavailable
from tests.faults.waiting import until
from tests.integration.whole_imports import (
    STEPS,
    TENANT,
    assert_published,
    await_state,
    ended,
    failed_tries,
    job_of,
    kill,
    locked_catalog,
    nothing_started_again,
    start_append,
    upload,
    write_file,
)

pytestmark = [
    pytest.mark.integration,
    pytest.mark.faults("servers die or are away at each step, disks are full", seconds=60),
]

LOCKED_S = 3
ABSENT_S = 30
"""Longer than the first pauses of every retry of the workflow, so that several tries meet the absence."""
DISK_MIB = 1400
"""Enough for a stack: below 512 MiB of free space the S3 server rejects writes."""


@pytest.fixture(scope="module")
def context(start_module_stack: Callable[..., Settings]) -> Context:
    # lambda_file_bytes=-1: every long step is a separate task, as for a large file.
    made = Context(start_module_stack(parts=None, partitions=4, worker_session_timeout_s=6, lambda_file_bytes=-1))
    made.audiences.add_tenant(TENANT, now_ms=1)
    return made


# Half of the steps each, and Kafka in between: the supervisor's pause grows with each death of a part, and is short
# again once the part has run for a minute.
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("server", "steps"), [("s3", STEPS[:3]), ("kafka", STEPS), ("s3", STEPS[3:])], ids=["s3-1", "kafka", "s3-2"]
)
def test_server_death_at_any_step_costs_only_time(
    context: Context, tmp_path: Path, server: str, steps: tuple[JobState, ...]
) -> None:
    job, users = start_append(context, tmp_path, f"{server}-{steps[0].lower()}", rows=400_000)
    for step in steps:
        await_state(context, job, step)
        kill(context, server)
        assert context.jobs.get(job.job_id).state == step, "it died too late to be missed in this step"
    assert_published(context, ended(context, job, timeout_s=900), users)


@pytest.mark.timeout(600)
def test_catalog_locked_at_any_step_is_awaited(context: Context, tmp_path: Path) -> None:
    job, users = start_append(context, tmp_path, "locked", rows=400_000)
    for step in STEPS:
        await_state(context, job, step)
        with locked_catalog(context):
            assert context.jobs.get(job.job_id).state == step
            time.sleep(LOCKED_S)
            assert context.jobs.get(job.job_id).state == step, "the lock excludes no writer"
    job = ended(context, job)
    assert_published(context, job, users)
    assert failed_tries(context, job.execution) == []


@pytest.mark.timeout(600)
def test_long_server_outages_cost_only_time(context: Context, tmp_path: Path) -> None:
    job, users = start_append(context, tmp_path, "away")
    await_state(context, job, "IMPORTING")
    with nothing_started_again(context):
        kill(context, "s3")
        kill(context, "kafka")
        with locked_catalog(context):
            time.sleep(ABSENT_S)
    assert context.jobs.get(job.job_id).state == "IMPORTING"
    assert_published(context, ended(context, job), users)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A separate, small file system. Needs root, as in CI."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or (done := subprocess.run(mount, capture_output=True, text=True, check=False)).returncode:
        unavailable(f"a small file system cannot be mounted: {'no root' if os.geteuid() else done.stderr}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(ballast: Path) -> None:
    """Write until the disk is full."""
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1024 * 1024))


@pytest.mark.timeout(1200)
def test_s3_server_recovers_from_a_full_disk(small_disk: Path, start_stack: Callable[..., Settings]) -> None:
    """A failed write breaks one of eight parts of its index until it is restarted: PART_ILL."""
    settings = start_stack(parts=("s3",), name=str(small_disk / "home"))
    objects = Context(settings).objects
    keys = [f"folder-{n}/object" for n in range(64)]  # in each part of the index
    doomed = [f"{key}-{n}" for n in range(32) for key in keys]  # more than fit into the pages already begun
    for key in doomed:
        objects.put(settings.staging_bucket, key, b"before")

    def delete(keys: list[str]) -> None:
        for key in keys:
            objects.delete(settings.staging_bucket, key)

    ballast = small_disk / "ballast"
    fill(ballast)
    with pytest.raises(MusterError):
        delete(doomed)
    ballast.unlink()

    def taken() -> bool:
        for key in keys:
            objects.put(settings.staging_bucket, key, b"after")
        return True

    until(taken, "an S3 server that takes everything")
    part = local_stack.status(settings).part("s3")
    assert part is not None
    assert part.restarts == 1
    assert all(objects.get(settings.staging_bucket, key) == b"after" for key in keys)


@pytest.mark.timeout(1200)
def test_full_disk_never_makes_a_partial_version_and_work_resumes_with_space(
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
    else:  # the retries were used up while the disk was full
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
