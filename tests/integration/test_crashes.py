"""Whole imports on the whole stack while its parts are killed at random moments: the published set is the file's.

Each part is killed once, at a named point, in `tests/integration/whole/test_deaths.py`.
"""

import itertools
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.catalog.records import Job
from orchestration.composition.context import Context
from orchestration.platform.settings import Settings
from segmentation.jobs import FINAL
from tests.integration.whole_imports import (
    IMPORTER,
    TENANT,
    WORKER,
    assert_published,
    ended,
    job_of,
    kill_one,
    running,
    upload,
    write_file,
)

pytestmark = [
    pytest.mark.integration,
    pytest.mark.faults("parts are killed at random moments, five times", seconds=75),
]

KILLS = 5


@pytest.fixture(scope="module")
def context(start_module_stack: Callable[..., Settings]) -> Context:
    # lambda_file_bytes=-1: every file goes through a separate task, which can be killed alone.
    settings = start_module_stack(parts=None, partitions=4, workers=2, worker_session_timeout_s=6, lambda_file_bytes=-1)
    made = Context(settings)
    made.audiences.add_tenant(TENANT, now_ms=1)
    return made


def importer_or_later(context: Context, job: Job) -> None:
    """Wait until an importer runs or the job no longer needs one: on a slow machine verification takes its time."""
    deadline = time.monotonic() + 120
    while context.jobs.get(job.job_id).state in {"REGISTERED", "VERIFYING", "IMPORTING"}:
        if running(context, IMPORTER):
            return
        assert time.monotonic() < deadline, "no importer was started"
        time.sleep(0.02)


@pytest.mark.timeout(2400)
@pytest.mark.parametrize("seed", range(20_261_124, 20_261_128))
def test_importers_and_workers_killed_at_random_lose_and_duplicate_nothing(
    context: Context, tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)
    killed = {IMPORTER: 0, WORKER: 0}
    for turn in itertools.count():  # until the kills are done: an import may be over before its kill
        if sum(killed.values()) >= KILLS and min(killed.values()) >= KILLS // 4:
            break
        audience = f"crash-{seed}-{turn}"
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
            # The workflow gives an import a bounded number of tries; unbounded kills would only prove that.
            victim = IMPORTER if importer_kills < 2 and running(context, IMPORTER) else WORKER
            if kill_one(context, dice, victim):
                killed[victim] += 1
                importer_kills += victim == IMPORTER
        assert_published(context, ended(context, job, timeout_s=600), users)
