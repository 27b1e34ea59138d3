"""Whole imports whose processes are killed while held at a point: the published set is the file's.

Repeated kills at random moments are in `test_crashes`.
"""

import os
import signal
from pathlib import Path

import pytest

from orchestration.composition.context import Context
from schemas.messages import JobState
from tests.faults.waiting import until
from tests.holding.holding import hold
from tests.integration.whole.exporting import assert_received, start
from tests.integration.whole_imports import (
    assert_published,
    await_state,
    ended,
    failed_tries,
    job_of,
    kill,
    nothing_started_again,
    pid_of,
    start_append,
    upload,
    write_file,
)

pytestmark = pytest.mark.integration

ROWS = 200
"""So few that every step runs in a function."""
ELSEWHERE = pytest.mark.faults(
    "the simulator kills each part at any moment; an importer takes a second attempt", seconds=10
)


@pytest.mark.parametrize(
    ("victim", "state", "tries", "attempts"),
    [
        pytest.param("verifier", "VERIFYING", ["Runtime.ExitError"], 1, marks=ELSEWHERE),
        ("importer", "IMPORTING", ["Runtime.ExitError"], 2),
        pytest.param("worker", "AWAITING", [], 1, marks=ELSEWHERE),
        pytest.param("publisher", "PUBLISHING", ["Runtime.ExitError"], 1, marks=ELSEWHERE),
    ],
)
def test_part_death_during_an_import_is_recovered(
    context: Context, tmp_path: Path, victim: str, state: JobState, tries: list[str], attempts: int
) -> None:
    with hold(context.settings.home, victim) as held:
        job, users = start_append(context, tmp_path, f"dies-{victim}", rows=ROWS)
        process = held()
        await_state(context, job, state)
        process.kill()
        assert context.jobs.get(job.job_id).state == state
    job = ended(context, job)
    assert_published(context, job, users)
    assert job.attempt == attempts
    assert failed_tries(context, job.execution) == tries


@pytest.mark.faults("the simulator rebalances; a worker of segments ends in order in test_segments.py", seconds=10)
def test_stopping_worker_hands_over_during_an_import(context: Context, tmp_path: Path) -> None:
    log = context.settings.home / "logs" / "supervisor.log"
    ends = log.read_text().count("ended with exit code 0")
    with hold(context.settings.home, "importer") as importer:
        job, users = start_append(context, tmp_path, "handed-over", rows=ROWS)
        importer()  # the workers have, or will soon have, the whole file except its end
        before = pid_of(context, "worker-1")
        assert before is not None
        os.kill(before, signal.SIGTERM)
        until(lambda: pid_of(context, "worker-1") not in {None, before}, "the worker after it")
    job = ended(context, job)
    assert_published(context, job, users)
    assert job.attempt == 1
    assert log.read_text().count("ended with exit code 0") == ends + 1


@pytest.mark.faults("the simulator kills it at any moment", seconds=20)
def test_relay_death_affects_no_import_or_export(context: Context, tmp_path: Path, few: str) -> None:
    home = context.settings.home
    with hold(home, "relay") as relay, hold(home, "writer") as writer:
        export = start(context, few)
        writer()
        job, users = start_append(context, tmp_path, "relay-dies", rows=ROWS)
        process = relay()
        await_state(context, job, "AWAITING")
        process.kill()
    assert_published(context, ended(context, job), users)
    assert_received(context, export)


@pytest.mark.faults("an engine is started again; lost executions are those of test_gc.py", seconds=30)
def test_engine_death_resumes_executions_and_starts_new_uploads(context: Context, tmp_path: Path, few: str) -> None:
    late = write_file(tmp_path / "late.csv", 12, ROWS)
    home = context.settings.home
    with hold(home, "importer") as importer, hold(home, "writer") as writer:
        export = start(context, few)
        job, users = start_append(context, tmp_path, "engine-dies", rows=ROWS)
        writer()
        importer()
        with nothing_started_again(context):
            kill(context, "engine")
            upload(context, tmp_path / "late.csv", "engine-was-away")
            assert context.jobs.search(audience="engine-was-away") == []
    assert_published(context, ended(context, job_of(context, "engine-was-away")), late)
    assert_published(context, ended(context, job), users)
    assert_received(context, export)
