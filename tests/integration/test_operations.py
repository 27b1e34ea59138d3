"""Operating the whole stack: what Prometheus reads and the logs hold."""

import json
import os
import signal
import time
from contextlib import closing
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from orchestration.context import Context
from orchestration.local import stack as local_stack
from orchestration.local.status import PartState, PartStatus
from orchestration.settings import Settings
from schemas.ids import TenantName
from schemas.topics import JOB_EVENTS
from tests.conftest import StartStack
from tests.integration.whole_imports import assert_published, ended, job_of
from tests.integration.workers import eventually
from tests.unit.orchestration.test_metrics import scrape

pytestmark = pytest.mark.integration
READY = ("muster_jobs", ("READY",))


def logged(settings: Settings, part: str) -> list[dict[str, Any]]:
    """What a part has logged until now; the functions say nothing before they tell of the job's end."""
    text = (settings.home / "logs" / f"{part}.log").read_text()
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_metrics_and_logs_of_every_part_tell_of_an_import(start_stack: StartStack) -> None:
    settings = start_stack(parts=None, job_events_group="readers")
    context = Context(settings)
    context.audiences.add_tenant(TenantName("default"), 1)
    context.objects.put(settings.inbox_bucket, "default/seen/people.csv", b"user_id\nu1\nu2\nu3\n")
    job = ended(context, job_of(context, "seen"))
    assert job.state == "READY"
    at = {part: (settings.home / "metrics" / part).read_text().strip() for part in ("relay", "worker-1")}
    worker = scrape(f"http://{at['worker-1']}/metrics")
    # It looks every few seconds: this may be what it saw before the import.
    relay = eventually(lambda: found if (found := scrape(f"http://{at['relay']}/metrics"))[READY] else None)
    assert worker["muster_worker_rows_total", ()] == 3
    assert worker["muster_worker_merges_total", ()] == settings.partitions
    assert relay[READY] == 1
    assert relay["muster_workers", ()] == 1
    assert relay["muster_dead_letters", ()] == 0
    assert relay["muster_unavailable", ("kafka",)] == 0
    lag = {labels[-1] for name, labels in relay if name == "muster_consumer_lag"}
    assert lag == {"muster.imports", "muster.imports.small", "muster.archive"}
    assert_a_group_that_takes_no_job_events_is_told(settings, at["relay"], "readers")
    for part in ("relay", "worker-1", "lambda"):
        lines = eventually(lambda part=part: logged(settings, part))  # type: ignore[misc]  # bound at once
        assert {"time", "level", "logger", "message"} <= lines[0].keys()
        if part != "relay":
            assert [line for line in lines if line.get("job") == job.job_id], part
    context.database.close()


def assert_a_group_that_takes_no_job_events_is_told(settings: Settings, relay: str, group: str) -> None:
    """For how long, until it has acknowledged the last."""

    def stalled_s() -> float:
        return scrape(f"http://{relay}/metrics")["muster_job_events_stalled_seconds", ()]

    with closing(Consumer({"bootstrap.servers": settings.kafka_bootstrap, "group.id": group})) as consumer:

        def stalled_after_the_last_s() -> float:
            end = consumer.get_watermark_offsets(TopicPartition(JOB_EVENTS, 0), timeout=10)[1]
            consumer.commit(offsets=[TopicPartition(JOB_EVENTS, 0, end)], asynchronous=False)
            return stalled_s()

        first_s = eventually(stalled_s)
        eventually(lambda: stalled_s() > first_s)
        eventually(lambda: stalled_after_the_last_s() == 0)  # again and again: some come after the job's end


def test_workers_are_restarted_one_by_one_while_imports_run_and_nothing_is_lost(start_stack: StartStack) -> None:
    settings = start_stack(parts=None, workers=2)
    context = Context(settings)
    context.audiences.add_tenant(TenantName("default"), 1)
    users = {name: {f"{name}-{n}" for n in range(60_000)} for name in ("a", "b", "c", "d", "e", "f")}

    def upload(name: str) -> None:
        text = "\n".join(["user_id", *sorted(users[name]), ""])
        context.objects.put(settings.inbox_bucket, f"default/{name}/people.csv", text.encode())

    names = iter(users)
    for name in ("worker-1", "worker-2"):
        for _ in range(2):
            upload(next(names))
        before = part_of(settings, name)
        assert before.pid is not None
        os.kill(before.pid, signal.SIGTERM)
        upload(next(names))
        deadline = time.monotonic() + 120
        while (now := part_of(settings, name)).state is not PartState.READY or now.pid == before.pid:
            assert time.monotonic() < deadline, now
            time.sleep(0.1)
    for name, wanted in users.items():
        job = ended(context, job_of(context, name))
        assert_published(context, job, wanted)
        assert job.attempt == 1
    said = (settings.home / "logs" / "supervisor.log").read_text()
    assert said.count("ended with exit code 0") == 2, "a worker that is told to end drains and ends in order"
    assert "ended with exit code 70" not in said
    context.database.close()


def part_of(settings: Settings, name: str) -> PartStatus:
    part = local_stack.status(settings).part(name)
    assert part is not None
    return part
