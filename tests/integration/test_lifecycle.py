"""Fifty imports at once on the whole stack. Queues, cancels and stopped executions: `whole/test_lifecycle.py`."""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.composition.context import Context
from orchestration.platform.settings import Settings
from schemas.ids import TenantName
from segmentation.jobs import FINAL
from tests.integration.whole_imports import TENANT, assert_published, upload, write_file

pytestmark = [pytest.mark.integration, pytest.mark.faults("53 imports at once, of three tenants", seconds=60)]

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
def test_fifty_concurrent_imports_finish_in_turn_and_small_ones_pass_large_ones(
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
