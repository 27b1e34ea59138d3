"""The life of jobs on the whole stack: many at once, queues, cancels and stopped executions."""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.context import Context
from orchestration.operations.jobs import cancel, retry
from orchestration.settings import Settings
from schemas.ids import JobId, TenantName
from schemas.layout import staging_prefix
from segmentation.jobs import FINAL
from tests.integration.whole_imports import TENANT, assert_published, ended, job_of, upload, write_file

pytestmark = pytest.mark.integration

SMALL_AT_ONCE, SMALL_PER_TENANT = 4, 3
TENANTS = {"many": 30, "few": 10, "fewer": 10}


@pytest.fixture(scope="module")
def context(start_module_stack: Callable[..., Settings]) -> Context:
    settings = start_module_stack(
        parts=None,
        partitions=2,
        workers=1,
        small_file_bytes=16 * 1024,
        max_jobs=1,
        max_small_jobs=SMALL_AT_ONCE,
        max_small_jobs_per_tenant=SMALL_PER_TENANT,
    )
    made = Context(settings)
    for tenant in (TENANT, *TENANTS):
        made.audiences.add_tenant(TenantName(tenant), now_ms=1)
    return made


@pytest.mark.timeout(600)
def test_fifty_imports_uploaded_at_once_all_finish_in_turn_and_small_ones_pass_large_ones(
    context: Context, tmp_path: Path
) -> None:
    for number in range(3):  # one of them runs at a time
        write_file(tmp_path / "large.csv", 100 + number, rows=400_000)
        upload(context, tmp_path / "large.csv", f"large-{number}")
    users = {f"{tenant}-{n}" for tenant in TENANTS for n in range(5)}
    body = "user_id\n" + "\n".join(sorted(users)) + "\n"
    for tenant, count in TENANTS.items():
        for number in range(count):
            context.objects.put(context.settings.inbox_bucket, f"{tenant}/small-{number}/users.csv", body.encode())
    most: Counter[bool] = Counter()
    deadline = time.monotonic() + 500
    while True:
        jobs = context.jobs.search(limit=1000)
        running = Counter(j.small for j in jobs if j.state not in FINAL and j.state != "REGISTERED")
        most = Counter({small: max(most[small], running[small]) for small in (True, False)})
        if len(jobs) == 53 and all(j.state in FINAL for j in jobs):
            break
        assert time.monotonic() < deadline, Counter((j.small, j.state) for j in jobs)
        time.sleep(0.1)
    assert {j.state for j in jobs} == {"READY"}, [j.error for j in jobs if j.error]
    assert (most[True] <= SMALL_AT_ONCE, most[False]) == (True, 1)
    small = [j for j in jobs if j.small]
    assert len(small) == 50
    for job in small:
        assert_published(context, job, users)
    last = {t: max(j.finished_at_ms or 0 for j in small if j.tenant == t) for t in TENANTS}
    assert max(last["few"], last["fewer"]) < last["many"]
    assert min(j.finished_at_ms or 0 for j in small) < max(j.finished_at_ms or 0 for j in jobs if not j.small)


def execution_status(context: Context, arn: str | None) -> str:
    return context.workflow.describe_execution(executionArn=str(arn))["status"]


@pytest.mark.timeout(300)
def test_a_cancelled_import_ends_in_an_aborted_execution_with_nothing_staged_and_its_retry_verifies_nothing_again(
    context: Context, tmp_path: Path
) -> None:
    users = write_file(tmp_path / "a.csv", 7, rows=600_000)
    upload(context, tmp_path / "a.csv", "cancelled")
    job = job_of(context, "cancelled")
    wait_for_state(context, job.job_id, "IMPORTING")
    assert cancel(context, job.job_id).warnings == ()
    assert execution_status(context, job.execution) == "ABORTED"
    job = ended(context, job)
    assert job.state == "CANCELLED"
    deadline = time.monotonic() + 60
    while list(context.objects.list(context.settings.staging_bucket, staging_prefix(job.job_id))):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    again = retry(context, job.job_id)
    wait_for_state(context, again, "READY")
    done = context.jobs.get(again)
    assert_published(context, done, users)
    way = [(t.state, t.cause) for t in context.jobs.history(again)]
    assert way[1] == ("IMPORTING", f"verified by job {job.job_id}")
    assert "VERIFYING" not in [state for state, _ in way]


@pytest.mark.timeout(300)
def test_an_execution_that_is_stopped_from_outside_ends_its_job(context: Context, tmp_path: Path) -> None:
    write_file(tmp_path / "a.csv", 8, rows=600_000)
    upload(context, tmp_path / "a.csv", "stopped")
    job = job_of(context, "stopped")
    context.workflow.stop_execution(executionArn=str(job.execution), error="Ops", cause="wrong file")
    job = ended(context, job, timeout_s=60)
    assert job.state == "CANCELLED"
    assert "EXECUTION_STOPPED" in str(context.jobs.history(job.job_id)[-1].cause)


def wait_for_state(context: Context, job_id: JobId, state: str, timeout_s: float = 120) -> None:
    """Wait until a job has been in a state."""
    deadline = time.monotonic() + timeout_s
    while True:
        job = context.jobs.find(job_id)
        if job is not None and (job.state == state or state in [t.state for t in context.jobs.history(job_id)]):
            return
        assert time.monotonic() < deadline, job
        assert job is None or job.state not in FINAL, job
        time.sleep(0.02)
