"""Whole imports on the whole stack while its parts are killed at random moments: the published set is the file's."""

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from orchestration.catalog.records import Job
from orchestration.context import Context
from orchestration.local import processes
from orchestration.settings import Settings
from orchestration.steps.references import audience_ref
from schemas.ids import TenantName, Version
from schemas.layout import split_s3_uri, staging_prefix
from segmentation.jobs import FINAL

pytestmark = pytest.mark.integration

KILLS = 20
TENANT = TenantName("default")
IMPORTER, WORKER = "orchestration.tasks import", "orchestration.worker"
VERIFIER, RELAY, ENGINE = "orchestration.tasks verify", "orchestration.relay", "engine.server"


@pytest.fixture(scope="module")
def context(start_module_stack: Callable[..., Settings]) -> Context:
    # small_file_bytes=0: every file goes through a task of its own, which can be killed by itself.
    settings = start_module_stack(parts=None, partitions=4, workers=2, worker_session_timeout_s=6, small_file_bytes=0)
    made = Context(settings)
    made.audiences.add_tenant(TENANT, now_ms=1)
    return made


def write_file(path: Path, seed: int, rows: int) -> set[str]:
    """A file with duplicates; returns its distinct users."""
    dice = random.Random(seed)
    users = [f"user-{seed}-{dice.randrange(rows)}" for _ in range(rows)]
    path.write_text("user_id\n" + "\n".join(users) + "\n")
    return set(users)


def upload(context: Context, path: Path, audience: str) -> None:
    context.objects.put_file(path, context.settings.inbox_bucket, f"{TENANT}/{audience}/{path.name}")


def job_of(context: Context, audience: str, timeout_s: float = 60) -> Job:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if found := context.jobs.search(audience=audience):
            return found[0]
        time.sleep(0.1)
    raise AssertionError(f"no job for {audience} after {timeout_s} s")


def ended(context: Context, job: Job, timeout_s: float = 180) -> Job:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        job = context.jobs.get(job.job_id)
        if job.state in FINAL:
            return job
        time.sleep(0.2)
    history = "\n".join(f"{t.at_ms} {t.state} {t.attempt} {t.cause}" for t in context.jobs.history(job.job_id))
    raise AssertionError(f"job {job.job_id} has not ended after {timeout_s} s:\n{history}")


def published(context: Context, job: Job) -> list[str]:
    """Members of the version that a job has published, read file by file without Muster's reader."""
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


def kill_one(context: Context, dice: random.Random, *names: str) -> bool:
    if not (victims := running(context, *names)):
        return False
    try:
        dice.choice(victims).send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return False
    return True


@pytest.mark.timeout(900)
def test_importers_and_workers_killed_at_random_moments_lose_and_double_nothing(
    context: Context, tmp_path: Path
) -> None:
    dice = random.Random(20_261_124)
    killed = {IMPORTER: 0, WORKER: 0}
    for turn in range(40):
        if sum(killed.values()) >= KILLS and min(killed.values()) >= KILLS // 4:
            break
        audience = f"crash-{turn}"
        path = tmp_path / f"{audience}.csv"
        users = write_file(path, turn, rows=60_000)
        upload(context, path, audience)
        job = job_of(context, audience)
        importer_kills = 0
        for _ in range(4):
            time.sleep(dice.uniform(0.1, 1.5))
            if context.jobs.get(job.job_id).state in FINAL:
                break
            # The workflow grants an import a bounded number of tries; a killer without bound would only prove that.
            victim = IMPORTER if importer_kills < 2 and running(context, IMPORTER) else WORKER
            if kill_one(context, dice, victim):
                killed[victim] += 1
                importer_kills += victim == IMPORTER
        assert_published(context, ended(context, job), users)
    assert sum(killed.values()) >= KILLS
    assert min(killed.values()) >= KILLS // 4


@pytest.mark.timeout(300)
@pytest.mark.parametrize("victim", [VERIFIER, RELAY, ENGINE])
def test_a_part_that_dies_in_the_middle_of_an_import_is_made_up_for(
    context: Context, tmp_path: Path, victim: str
) -> None:
    dice = random.Random(7)
    audience = "dies-" + victim.rsplit(".", 1)[-1].replace(" ", "-")
    users = write_file(tmp_path / "a.csv", 99, rows=80_000)
    upload(context, tmp_path / "a.csv", audience)
    job = job_of(context, audience)
    deadline = time.monotonic() + 30
    while not kill_one(context, dice, victim) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert_published(context, ended(context, job), users)


@pytest.mark.timeout(300)
def test_the_staged_data_of_a_finished_import_is_swept(context: Context, tmp_path: Path) -> None:
    users = write_file(tmp_path / "a.csv", 5, rows=2_000)
    upload(context, tmp_path / "a.csv", "swept")
    job = ended(context, job_of(context, "swept"))
    assert_published(context, job, users)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not list(context.objects.list(context.settings.staging_bucket, staging_prefix(job.job_id))):
            break
        time.sleep(0.5)
    assert [o.key for o in context.objects.list(context.settings.staging_bucket, staging_prefix(job.job_id))] == []
    assert_published(context, job, users)
