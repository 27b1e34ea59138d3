"""What Prometheus reads: over HTTP, with the names of the typed list and no others."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from orchestration.composition import control_plane
from orchestration.control.worker_groups import WorkerGroups
from orchestration.platform.embedded_metrics import EmbeddedMetrics
from orchestration.platform.metrics import serve_metrics
from orchestration.platform.settings import Secret, Settings
from schemas.counters import Counters
from schemas.errors import UserError
from schemas.ids import AudienceName, TenantName
from schemas.metrics import (
    ARCHIVE_RANGES,
    BUFFERED_BYTES,
    CHUNKS,
    DEAD,
    EVALUATED_TO,
    METRICS,
    READY_SECONDS,
    RELAY_METRICS,
    STAGE_SECONDS,
    Sample,
)
from schemas.segment_messages import SegmentStatus
from tests.fakes.rules import new_rule
from tests.unit.orchestration.notifications.test_notices import FAULT, ended, make_context


@contextmanager
def served(settings: Settings, samples: list[Sample], port: int = 0) -> Iterator[str]:
    server = serve_metrics(settings, "worker-1", port, lambda: samples)
    try:
        yield f"http://{(settings.home / 'metrics' / 'worker-1').read_text().strip()}"
    finally:
        server.shutdown()
        server.server_close()


def scrape(url: str, token: str = "") -> dict[tuple[str, tuple[str, ...]], float]:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = answer.read().decode()
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_prometheus_parses_the_metrics(tmp_path: Path) -> None:
    counters = Counters()
    counters.add(CHUNKS, result="kept")
    counters.add(CHUNKS, 2, result="kept")
    counters.add(CHUNKS, result="buried")
    samples = [*counters.samples(), Sample(metric=BUFFERED_BYTES, value=5)]
    with served(Settings(home=tmp_path), samples) as url:
        assert scrape(url + "/metrics") == {
            ("muster_worker_chunks_total", ("buried",)): 1,
            ("muster_worker_chunks_total", ("kept",)): 3,
            ("muster_worker_buffered_bytes", ()): 5,
        }
        with pytest.raises(urllib.error.HTTPError, match="404"):
            scrape(url + "/")


def test_a_histogram_has_cumulative_buckets_a_sum_and_a_count(tmp_path: Path) -> None:
    counters = Counters()
    for seconds in (0.4, 0.5, 2.5, 50_000):
        counters.observe(READY_SECONDS, seconds, size="small")
    with (
        served(Settings(home=tmp_path), counters.samples()) as url,
        urllib.request.urlopen(url + "/metrics", timeout=60) as answer,
    ):
        (family,) = text_string_to_metric_families(answer.read().decode())
    found = {(one.name, one.labels.get("le")): one.value for one in family.samples}
    assert (family.type, family.name) == ("histogram", "muster_job_ready_seconds")
    assert {one.labels["size"] for one in family.samples} == {"small"}
    assert found["muster_job_ready_seconds_bucket", "0.5"] == 2  # a bound is part of its bucket
    assert found["muster_job_ready_seconds_bucket", "2.0"] == 2
    assert found["muster_job_ready_seconds_bucket", "5.0"] == 3
    assert found["muster_job_ready_seconds_bucket", "43200.0"] == 3
    assert found["muster_job_ready_seconds_bucket", "+Inf"] == found["muster_job_ready_seconds_count", None] == 4
    assert found["muster_job_ready_seconds_sum", None] == 50_003.4
    assert len(found) == len(READY_SECONDS.buckets) + 3


def test_log_lines_at_aws_have_what_is_new_in_cloudwatchs_format() -> None:
    counters, metrics = Counters(), EmbeddedMetrics("Muster/acme")
    counters.add(CHUNKS, 2, result="kept")
    counters.add(CHUNKS, 1, result="buried")
    counters.observe(STAGE_SECONDS, 0.7, stage="verify", size="small")
    counters.observe(STAGE_SECONDS, 0.8, stage="verify", size="large")
    counters.observe(STAGE_SECONDS, 90_000, stage="build", size="large")
    gauges = [Sample(metric=EVALUATED_TO, value=value, labels=(str(value),)) for value in (5, 7)]
    unwritten = Sample(metric=DEAD, value=3)  # the summary of the control plane has it
    build, verify, first = map(json.loads, metrics.lines([*counters.samples(), *gauges, unwritten], 9))
    assert first["_aws"]["Timestamp"] == 9
    (directive,) = first["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], directive["Dimensions"]) == ("Muster/acme", [[]])
    assert {one["Name"] for one in directive["Metrics"]} == first.keys() - {"_aws"} == {CHUNKS.name, EVALUATED_TO.name}
    assert (first[CHUNKS.name], first[EVALUATED_TO.name]) == (3, [5, 7])
    assert verify["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["stage"]]
    assert (verify["stage"], build["stage"]) == ("verify", "build")
    assert verify[STAGE_SECONDS.name] == {
        "Values": [1],
        "Counts": [2],
        "Min": 1,
        "Max": 1,
        "Count": 2,
        "Sum": 1.5,
    }
    assert build[STAGE_SECONDS.name]["Values"] == [12 * 3600]
    assert metrics.lines(counters.samples(), 10) == []
    counters.add(CHUNKS, 4, result="kept")
    counters.observe(STAGE_SECONDS, 4, stage="verify", size="small")
    again = [json.loads(line) for line in metrics.lines(counters.samples(), 11)]
    assert [one.get(CHUNKS.name) for one in again] == [None, 4]
    assert (again[0][STAGE_SECONDS.name]["Values"], again[0][STAGE_SECONDS.name]["Sum"]) == ([5], 4)


def test_metrics_require_the_configured_token(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, metrics_host="0.0.0.0", metrics_token=Secret("hush"))
    with served(settings, [Sample(metric=BUFFERED_BYTES, value=5)]) as url:
        local = url.replace("0.0.0.0", "127.0.0.1") + "/metrics"
        for wrong in ("", "husher", "hus"):
            with pytest.raises(urllib.error.HTTPError, match="401"):
                scrape(local, wrong)
        assert scrape(local, "hush") == {("muster_worker_buffered_bytes", ()): 5}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com"])
def test_metrics_beyond_loopback_require_a_token(tmp_path: Path, host: str) -> None:
    with pytest.raises(UserError, match="METRICS_NEED_A_TOKEN"):
        serve_metrics(Settings(home=tmp_path, metrics_host=host), "relay", 0, list)


def test_occupied_metrics_port_is_not_fatal(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with served(settings, []) as first:
        taken = int(first.rsplit(":", 1)[1])
        with served(settings, [Sample(metric=BUFFERED_BYTES, value=1)], taken) as second:
            assert second != first
            assert len(scrape(second + "/metrics")) == 1


def test_relay_exports_jobs_and_notifications_and_kafka_outages(tmp_path: Path) -> None:
    context = make_context(tmp_path, kafka_bootstrap="127.0.0.1:1")
    ended(context, FAULT, 1)
    ended(context, None, 2, now_ms=3_001)
    job = context.jobs.get(ended(context, FAULT, 3))
    context.outbox.write(job.job_id, "user-error", [], {}, now_ms=1)
    rule = new_rule("ever(purchase)")
    acme, buyers = TenantName("acme"), AudienceName("buyers")
    context.segments.create(acme, buyers, rule, new_id=job.job_id, author="ann", now_ms=1)
    status: dict[str, Any] = {"rule_version": 1, "partitions": 1, "members": 5, "at_us": 1, "paused": False}
    status |= {"events": 0, "profiles": 0, "activations": 1, "tenant": acme, "segment": buyers, "partition": 0}
    context.segments.put_statuses([SegmentStatus(**status)])
    counters = Counters()
    counters.add(ARCHIVE_RANGES, 2, topic="muster.events", result="known")
    metrics = control_plane.control_plane_metrics(context, WorkerGroups.of(context.settings), counters)
    found = {(str(s.metric.name), s.labels): s.value for s in metrics.samples()}
    assert (found["muster_jobs", ("FAILED",)], found["muster_jobs", ("READY",)]) == (2, 1)
    assert found["muster_jobs", ("AWAITING",)] == 0
    assert (found["muster_segments", ("active",)], found["muster_segments", ("paused",)]) == (1, 0)
    assert found["muster_segment_activations_waiting", ()] == 1
    assert found["muster_segment_status_age_seconds", ()] > 0
    assert found["muster_oldest_job_age_seconds", ()] == 0
    assert found["muster_publish_seconds", ()] == 3
    assert found["muster_notifications", ("given up",)] == 0
    assert (found["muster_unavailable", ("kafka",)], found["muster_unavailable", ("catalog",)]) == (1, 0)
    assert found["muster_archive_ranges_total", ("muster.events", "known")] == 2
    assert {name for name, _ in found} <= {metric.name for metric in RELAY_METRICS}
    context.database.close()


def test_every_metric_has_an_owner() -> None:
    assert len(METRICS) == len({name.removesuffix("_total") for name in METRICS})
