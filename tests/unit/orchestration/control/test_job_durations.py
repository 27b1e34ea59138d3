"""How long a job waited and stayed in each stage, from its history."""

from collections import defaultdict
from dataclasses import fields, replace
from typing import Any

import pytest

from orchestration.catalog.job_rows import job_from_row
from orchestration.catalog.records import Export, ExportTransition, JobError, NewJob, Transition
from orchestration.control.job_durations import JobDurations
from orchestration.platform.settings import Settings
from schemas.counters import Counters
from schemas.ids import Attempt, AudienceName, JobId
from schemas.import_targets import activity_spec
from schemas.messages import JobState
from schemas.tracing import record_with, trace_of
from segmentation.export_jobs import ExportState
from tests.contract.test_catalog import new_job
from tests.unit.schemas.test_tracing import Recorded

JOB = job_from_row(
    defaultdict(
        lambda: None,
        {**{f.name: getattr(new_job(), f.name) for f in fields(NewJob)}, "spec": {}, "state": "READY", "attempt": 1},
    )
)
SETTINGS = Settings(lambda_file_bytes=1000)
RETRIED: list[tuple[JobState, int]] = [
    ("REGISTERED", 1_000),
    ("VERIFYING", 3_000),
    ("IMPORTING", 3_500),
    ("IMPORTING", 3_600),  # an attempt began
    ("AWAITING", 10_500),
    ("IMPORTING", 11_000),  # a partition did not reconcile
    ("IMPORTING", 11_100),
    ("AWAITING", 12_000),
    ("BUILDING", 16_000),
    ("PUBLISHING", 17_000),
    ("READY", 31_000),
]


def observed(states: list[tuple[JobState, int]], **job: Any) -> dict[tuple[str, ...], tuple[float, int]]:
    """Sum and count by name and labels, after every change was announced."""
    counters = Counters()
    durations = JobDurations(counters, SETTINGS)
    history = [
        Transition(job_id=JobId("j"), sequence=number, state=state, attempt=Attempt(1), cause=None, at_ms=at_ms)
        for number, (state, at_ms) in enumerate(states, start=1)
    ]
    for one in history:
        durations.observe(replace(JOB, created_at_ms=1_000, **job), history, one.sequence)
    return {(one.metric.name, *one.labels): (one.value, sum(one.counts)) for one in counters.samples()}


def test_a_stage_lasts_from_the_first_line_of_its_state_to_the_next_state() -> None:
    assert observed(RETRIED, small=True) == {
        ("muster_job_queue_seconds", "small"): (2, 1),
        ("muster_job_stage_seconds", "verify", "small"): (0.5, 1),
        ("muster_job_stage_seconds", "import", "small"): (8, 2),
        ("muster_job_stage_seconds", "materialise", "small"): (4.5, 2),
        ("muster_job_stage_seconds", "build", "small"): (1, 1),
        ("muster_job_stage_seconds", "publish", "small"): (14, 1),
        ("muster_job_ready_seconds", "small"): (30, 1),
    }


@pytest.mark.parametrize("end", ["FAILED", "CANCELLED"])
def test_a_stage_that_was_stopped_is_left_out(end: JobState) -> None:
    assert observed([("REGISTERED", 1_000), ("FAILED", 9_000)]) == {}
    seen = observed([("REGISTERED", 1_000), ("VERIFYING", 1_000), (end, 9_000)], small=True)
    assert seen == {("muster_job_queue_seconds", "small"): (0, 1)}


@pytest.mark.parametrize(
    ("job", "size"),
    [
        ({"small": True}, "small"),
        ({"small": False, "source": {"bucket": "b", "key": "k", "size": 1000}}, "medium"),
        ({"small": False, "source": {"bucket": "b", "key": "k", "size": 1001}}, "large"),
        ({"small": True, "source": {"segment": "buyers"}}, "segment"),
    ],
)
def test_jobs_are_compared_by_size(job: dict[str, Any], size: str) -> None:
    assert ("muster_job_ready_seconds", size) in observed(RETRIED, **job)


def test_a_job_that_has_ended_is_a_span_with_its_stages_below_it() -> None:
    caller = {"request_id": "01jd0000000000000000000002", "traceparent": str(trace_of("request"))}
    recorded = Recorded()
    record_with(recorded)
    try:
        observed(RETRIED, source={"bucket": "b", "key": "secret.csv", "caller": caller})
    finally:
        record_with(None)
    job, *stages = recorded.spans
    assert (job.name, job.parent, job.attributes["muster.state"]) == ("audience job", trace_of("request"), "READY")
    assert job.context == trace_of(JOB.job_id, trace_of("request"))
    assert (job.start_ns, job.end_ns) == (1_000_000_000, 31_000_000_000)
    names = ["queue", "verify", "import", "materialise", "import", "materialise", "build", "publish"]
    assert [one.name for one in stages] == names
    assert {one.parent for one in stages} == {job.context}
    assert len({one.context for one in stages}) == len(names)
    assert (stages[4].start_ns, stages[4].end_ns) == (11_000_000_000, 12_000_000_000)
    assert "secret" not in str(recorded.spans)


def test_events_wait_for_the_archive() -> None:
    seen = observed(RETRIED, spec=activity_spec("events", {}), audience=AudienceName("_events"), small=True)
    assert ("muster_job_stage_seconds", "archive", "small") in seen


def export(end: ExportState, **more: Any) -> Export:
    fixed = {"job_id": JobId("e"), "tenant": "acme", "state": end, "request": {}, "created_at_ms": 1_000}
    values: dict[str, Any] = {one.name: None for one in fields(Export)} | fixed
    return Export(**(values | more))


def export_history(*states: tuple[ExportState, int]) -> list[ExportTransition]:
    return [ExportTransition(state=state, cause=None, at_ms=at_ms) for state, at_ms in states]


def test_export_waits_writes_and_finishes() -> None:
    counters = Counters()
    history = export_history(("REGISTERED", 1_000), ("WRITING", 2_000), ("WRITING", 3_000), ("FINISHING", 9_000))
    ready = export_history(("READY", 9_500))
    JobDurations(counters, SETTINGS).observe_export(export("READY"), [*history, *ready])
    assert {(one.metric.name, *one.labels): (one.value, sum(one.counts)) for one in counters.samples()} == {
        ("muster_job_queue_seconds", "export"): (1, 1),
        ("muster_job_stage_seconds", "write", "export"): (7, 1),
        ("muster_job_stage_seconds", "finish", "export"): (0.5, 1),
        ("muster_job_ready_seconds", "export"): (8.5, 1),
    }


def test_failed_export_is_a_span_with_its_error_and_leaves_its_last_stage_out() -> None:
    counters, recorded = Counters(), Recorded()
    caller = {"request_id": "01jd0000000000000000000002", "traceparent": str(trace_of("request"))}
    failed = export(
        "FAILED", request={"caller": caller}, error=JobError(kind="user", code="NO_SPACE", message="full", detail={})
    )
    record_with(recorded)
    try:
        history = export_history(("REGISTERED", 1_000), ("WRITING", 2_000), ("FAILED", 3_000))
        JobDurations(counters, SETTINGS).observe_export(failed, history)
    finally:
        record_with(None)
    assert [one.metric.name for one in counters.samples()] == ["muster_job_queue_seconds"]
    job, *stages = recorded.spans
    assert (job.name, job.parent, job.error) == ("export job", trace_of("request"), "NO_SPACE")
    assert job.context == trace_of("e", trace_of("request"))
    assert [(one.name, one.parent) for one in stages] == [("queue", job.context), ("write", job.context)]
