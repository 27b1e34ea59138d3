"""The life of jobs on the whole stack: queue, cancel, retry, stopped execution, sweep and expiry.

Fifty imports at once are in `tests/integration/test_lifecycle.py`.
"""

from pathlib import Path

import pytest

from orchestration.catalog.records import Job, Retention
from orchestration.catalog.references import ref_of
from orchestration.composition import control_plane
from orchestration.composition.context import Context
from orchestration.control.gc.jobs import SWEEP_AFTER_MS
from orchestration.control.reconciler import ORPHAN_AFTER_MS
from orchestration.platform.clock import now_ms
from schemas.ids import AudienceName
from schemas.layout import staging_prefix
from tests.faults.waiting import until
from tests.holding.holding import hold
from tests.integration.whole_imports import (
    TENANT,
    assert_published,
    ended,
    job_of,
    newest_job_of,
    upload,
    write_file,
)

pytestmark = pytest.mark.integration

ROWS = 200


def write_large(path: Path, name: str) -> set[str]:
    """A file that counts as large but has few users, many times each, so that functions import it."""
    users = {f"{name}-{n}" for n in range(100)}
    path.write_text("\n".join(["user_id", *sorted(users) * 12, ""]))
    return users


@pytest.mark.faults("turns are those of kinds/test_turns.py", seconds=25)
def test_small_imports_pass_sequential_large_ones(context: Context, tmp_path: Path) -> None:
    users = {name: write_large(tmp_path / f"{name}.csv", name) for name in ("large-1", "large-2")}
    users["small"] = write_file(tmp_path / "small.csv", 3, ROWS)
    with hold(context.settings.home, "importer") as importer:
        upload(context, tmp_path / "large-1.csv", "large-1")
        importer()
        upload(context, tmp_path / "large-2.csv", "large-2")
        second = job_of(context, "large-2")
        upload(context, tmp_path / "small.csv", "small")
        small = ended(context, job_of(context, "small"))
        assert_published(context, small, users["small"])
        until(lambda: context.jobs.get(second.job_id).task_token, "a job that waits for its turn")
        assert states(context, second) == ["REGISTERED"]
        assert states(context, job_of(context, "large-1"))[-1] == "IMPORTING"
    large = [ended(context, job_of(context, name)) for name in ("large-1", "large-2")]
    for job in large:
        assert_published(context, job, users[str(job.audience)])
    assert [job.small for job in (*large, small)] == [False, False, True]


def test_cancelled_import_leaves_no_staged_data_and_its_retry_skips_verification(
    context: Context, tmp_path: Path
) -> None:
    users = write_file(tmp_path / "a.csv", 7, ROWS)
    with hold(context.settings.home, "importer") as importer:
        upload(context, tmp_path / "a.csv", "cancelled")
        job = job_of(context, "cancelled")
        importer()
        assert context.import_jobs.cancel(job.job_id).warnings == ()
        assert execution_status(context, job) == "ABORTED"
    assert context.jobs.get(job.job_id).state == "CANCELLED"
    sweep(context, job)

    job_id = context.submission.resubmit(context.jobs.get(job.job_id))
    again = ended(context, until(lambda: context.jobs.find(job_id), "the job of the retry"))
    assert_published(context, again, users)
    way = [(t.state, t.cause) for t in context.jobs.history(again.job_id)]
    assert way[1] == ("IMPORTING", f"verified by job {job.job_id}")
    assert "VERIFYING" not in states(context, again)


@pytest.mark.faults("sweeps are those of control/test_gc.py", seconds=10)
def test_the_staged_data_of_a_finished_import_is_swept(context: Context, tmp_path: Path) -> None:
    users = write_file(tmp_path / "a.csv", 5, ROWS)
    upload(context, tmp_path / "a.csv", "swept")
    job = ended(context, job_of(context, "swept"))
    assert_published(context, job, users)
    sweep(context, job)
    assert_published(context, job, users)


@pytest.mark.faults("stopped executions are those of control/test_gc.py", seconds=10)
def test_externally_stopped_execution_ends_its_job(context: Context, tmp_path: Path) -> None:
    write_file(tmp_path / "a.csv", 8, ROWS)
    with hold(context.settings.home, "importer") as importer:
        upload(context, tmp_path / "a.csv", "stopped")
        job = job_of(context, "stopped")
        importer()
        context.workflow.stop_execution(executionArn=str(job.execution), error="Ops", cause="wrong file")
        control_plane.job_reconciler(context).tick(job.created_at_ms + ORPHAN_AFTER_MS + 1)
        job = context.jobs.get(job.job_id)
    assert job.state == "CANCELLED"
    assert "EXECUTION_STOPPED" in str(context.jobs.history(job.job_id)[-1].cause)


def test_old_versions_expire_by_the_retention_of_their_audience(context: Context, tmp_path: Path) -> None:
    for name in ("a", "b"):
        users = write_file(tmp_path / f"{name}.csv", 6, ROWS)
        upload(context, tmp_path / f"{name}.csv", "kept")
        job = ended(context, newest_job_of(context, "kept", f"{TENANT}/kept/{name}.csv"))
        assert_published(context, job, users)
    audience = context.audiences.get(TENANT, AudienceName("kept"))
    context.audiences.configure(audience.audience_id, spec=audience.spec, retention=Retention(versions=1, days=0))

    expiry, at_ms = control_plane.expired_versions(context), now_ms()
    for _ in context.audiences.all(awaited=True):  # one audience a tick
        expiry.tick(at_ms)

    assert [v.version for v in context.versions.versions(ref_of(audience))] == [2]
    assert_published(context, job, users)


def sweep(context: Context, job: Job) -> None:
    """Do what the control plane does some seconds after the end of a job; nothing of it stays staged."""
    control_plane.ended_jobs(context).tick(now_ms() + SWEEP_AFTER_MS + 1)
    assert list(context.objects.list(context.settings.staging_bucket, staging_prefix(job.job_id))) == []


def states(context: Context, job: Job) -> list[str]:
    return [t.state for t in context.jobs.history(job.job_id)]


def execution_status(context: Context, job: Job) -> str:
    return context.workflow.describe_execution(executionArn=str(job.execution))["status"]
