"""Whole imports on the whole stack while its parts are killed at random moments: the published set is the file's."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.catalog.records import Job, Retention
from orchestration.clock import now_ms
from orchestration.context import Context
from orchestration.relay.sweeper import Sweeper
from orchestration.settings import Settings
from orchestration.steps.references import ref_of
from schemas.ids import AudienceName
from schemas.layout import staging_prefix
from segmentation.jobs import FINAL
from tests.integration.whole_imports import (
    ENGINE,
    IMPORTER,
    RELAY,
    TENANT,
    VERIFIER,
    WORKER,
    assert_published,
    ended,
    job_of,
    kill_one,
    newest_job_of,
    running,
    upload,
    write_file,
)

pytestmark = pytest.mark.integration

KILLS = 20


@pytest.fixture(scope="module")
def context(start_module_stack: Callable[..., Settings]) -> Context:
    # lambda_file_bytes=-1: every file goes through a task of its own, which can be killed by itself.
    settings = start_module_stack(parts=None, partitions=4, workers=2, worker_session_timeout_s=6, lambda_file_bytes=-1)
    made = Context(settings)
    made.audiences.add_tenant(TENANT, now_ms=1)
    return made


def importer_or_later(context: Context, job: Job) -> None:
    """Until an importer runs, or the job needs none any more: on a slow machine verification takes its time."""
    deadline = time.monotonic() + 120
    while context.jobs.get(job.job_id).state in {"REGISTERED", "VERIFYING", "IMPORTING"}:
        if running(context, IMPORTER):
            return
        assert time.monotonic() < deadline, "no importer was started"
        time.sleep(0.02)


@pytest.mark.timeout(2400)
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
            if importer_kills < 2:
                importer_or_later(context, job)
            time.sleep(dice.uniform(0.1, 1.5))
            if context.jobs.get(job.job_id).state in FINAL:
                break
            # The workflow grants an import a bounded number of tries; a killer without bound would only prove that.
            victim = IMPORTER if importer_kills < 2 and running(context, IMPORTER) else WORKER
            if kill_one(context, dice, victim):
                killed[victim] += 1
                importer_kills += victim == IMPORTER
        assert_published(context, ended(context, job, timeout_s=600), users)
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
    while not kill_one(context, dice, victim):
        assert time.monotonic() < deadline, f"no {victim} to kill"
        time.sleep(0.02)
    assert context.jobs.get(job.job_id).state not in FINAL
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


@pytest.mark.timeout(300)
def test_old_versions_are_expired_by_the_retention_of_their_audience(context: Context, tmp_path: Path) -> None:
    for name in ("a", "b"):
        users = write_file(tmp_path / f"{name}.csv", 6, rows=2_000)
        upload(context, tmp_path / f"{name}.csv", "kept")
        job = ended(context, newest_job_of(context, "kept", f"{TENANT}/kept/{name}.csv"))
        assert_published(context, job, users)
    audience = context.audiences.get(TENANT, AudienceName("kept"))
    context.audiences.configure(audience.audience_id, spec=audience.spec, retention=Retention(versions=1, days=0))

    sweeper, at_ms = Sweeper(context), now_ms()
    for look in range(1, 200):
        sweeper.look(at_ms + look * 5_001)
        if [v.version for v in context.versions.versions(ref_of(audience))] == [2]:
            break

    assert [v.version for v in context.versions.versions(ref_of(audience))] == [2]
    assert_published(context, job, users)
