"""Prometheus metrics and logs of an import on the whole stack."""

import json
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from connectors.kafka.logon import librdkafka_config
from orchestration.composition.context import Context
from orchestration.local import stack as local_stack
from orchestration.platform.settings import Settings
from schemas.log_ids import execution_name
from schemas.topics import JOB_EVENTS
from schemas.tracing import trace_of
from tests.faults.waiting import until
from tests.integration.whole.conftest import PARTITIONS, READERS
from tests.integration.whole_imports import assert_published, ended, job_of, upload
from tests.unit.orchestration.platform.test_metrics import scrape

pytestmark = pytest.mark.integration
Metric = tuple[str, tuple[str, ...]]
WORKERS = ("worker-1", "worker-2")
ROWS, MERGES = ("muster_worker_rows_total", ()), ("muster_worker_merges_total", ())
READY_COUNT = ("muster_job_ready_seconds_count", ("small",))
READY, WORKER_COUNT = ("muster_jobs", ("READY",)), ("muster_workers", ())


def scraped(settings: Settings, *parts: str) -> Counter[Metric]:
    """Metrics of one part, or the sums of several."""
    sums: Counter[Metric] = Counter()
    for part in parts:
        address = (settings.home / "metrics" / part).read_text().strip()
        sums.update(scrape(f"http://{address}/metrics"))
    return sums


def relay_after(settings: Settings, ready: int) -> Counter[Metric] | None:
    """The control plane's metrics; None if it looked before `ready` imports were ready, or without Kafka."""
    found = scraped(settings, "relay")
    return found if found[READY] == ready and WORKER_COUNT in found else None


def logged(settings: Settings, part: str) -> list[dict[str, Any]]:
    """Log entries of a part so far."""
    text = (settings.home / "logs" / f"{part}.log").read_text()
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_metrics_and_logs_of_every_part_show_an_import(context: Context, tmp_path: Path) -> None:
    settings = context.settings
    until(lambda: local_stack.status(settings).ready, "a whole stack")
    until((settings.home / "metrics" / "relay").exists, "metrics of the relay")
    before, observed = scraped(settings, *WORKERS), scraped(settings, "relay")
    ready = len(context.jobs.search(states=["READY"], limit=1000))
    (tmp_path / "people.csv").write_text("user_id\nu1\nu2\nu3\n")
    upload(context, tmp_path / "people.csv", "seen")
    job = ended(context, job_of(context, "seen"))
    assert_published(context, job, {"u1", "u2", "u3"})
    workers = scraped(settings, *WORKERS)
    assert workers[ROWS] - before[ROWS] == 3
    assert workers[MERGES] - before[MERGES] == PARTITIONS
    relay = until(lambda: relay_after(settings, ready + 1), "what the relay says of it")
    assert relay[WORKER_COUNT] == len(WORKERS)
    assert relay["muster_dead_letters", ()] == 0
    assert relay["muster_unavailable", ("kafka",)] == 0
    until(lambda: scraped(settings, "relay")[READY_COUNT] > observed[READY_COUNT], "how long the import took")
    assert scraped(settings, "relay")["muster_job_stage_seconds_count", ("small", "publish")] >= 1
    lag = {labels[-1] for name, labels in relay if name == "muster_consumer_lag"}
    assert lag == {"muster.imports", "muster.imports.small", "muster.archive"}
    for part in ("relay", "lambda", *WORKERS):
        lines = until(lambda part=part: logged(settings, part), f"the log of {part}")  # type: ignore[misc]  # at once
        assert {"time", "level", "logger", "message"} <= lines[0].keys()
    lines = [line for part in WORKERS for line in logged(settings, part)]
    ids = {"trace_id": trace_of(job.job_id).trace_id, "execution": execution_name(job.execution)}
    for part in ("worker", "lambda"):
        found = [one for one in (lines if part == "worker" else logged(settings, part)) if one.get("job") == job.job_id]
        assert found
        assert [one for one in found if not ids.items() <= one.items()] == [], part
    assert_stalled_group_is_reported(settings)


def assert_stalled_group_is_reported(settings: Settings) -> None:
    """The metric says for how long, until the group has acknowledged the last event."""

    def stalled_s() -> float:
        return scraped(settings, "relay")["muster_job_events_stalled_seconds", ()]

    with closing(Consumer({**librdkafka_config(settings.kafka_bootstrap), "group.id": READERS})) as consumer:

        def stalled_after_the_last_s() -> float:
            end = consumer.get_watermark_offsets(TopicPartition(JOB_EVENTS, 0), timeout=10)[1]
            consumer.commit(offsets=[TopicPartition(JOB_EVENTS, 0, end)], asynchronous=False)
            return stalled_s()

        first_s = until(stalled_s, "a group that takes nothing")
        until(lambda: stalled_s() > first_s, "a group that still takes nothing")
        # Again and again: some come after the job's end.
        until(lambda: stalled_after_the_last_s() == 0, "a group that has taken everything")
