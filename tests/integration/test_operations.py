"""Operating the whole stack: what Prometheus reads and the logs hold."""

import json

import pytest

from orchestration.context import Context
from schemas.ids import TenantName
from tests.conftest import StartStack
from tests.integration.whole_imports import ended, job_of
from tests.unit.orchestration.test_metrics import scrape

pytestmark = pytest.mark.integration


def test_metrics_and_logs_of_every_part_tell_of_an_import(start_stack: StartStack) -> None:
    settings = start_stack(parts=None)
    context = Context(settings)
    context.audiences.add_tenant(TenantName("default"), 1)
    context.objects.put(settings.inbox_bucket, "default/seen/people.csv", b"user_id\nu1\nu2\nu3\n")
    job = ended(context, job_of(context, "seen"))
    assert job.state == "READY"
    at = {part: (settings.home / "metrics" / part).read_text().strip() for part in ("relay", "worker-1")}
    worker, relay = (scrape(f"http://{at[part]}/metrics") for part in ("worker-1", "relay"))
    assert worker["muster_worker_rows_total", ()] == 3
    assert worker["muster_worker_merges_total", ()] == settings.partitions
    assert relay["muster_jobs", ("READY",)] == 1
    assert relay["muster_workers", ()] == 1
    assert relay["muster_dead_letters", ()] == 0
    assert relay["muster_unavailable", ("kafka",)] == 0
    assert {topic for name, (topic, *_) in relay if name == "muster_consumer_lag"} == {
        "muster.imports",
        "muster.imports.small",
    }
    for part in ("relay", "worker-1", "lambda"):
        text = (settings.home / "logs" / f"{part}.log").read_text()
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        assert {"time", "level", "logger", "message"} <= lines[0].keys()
        if part != "relay":
            assert [line for line in lines if line.get("job") == job.job_id], part
    context.database.close()
