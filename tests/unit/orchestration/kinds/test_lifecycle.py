"""Every state of a job and what may happen to it there: docs/lifecycle.md names these tests."""

import json
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestration.catalog.records import Job
from orchestration.catalog.references import ref_of
from orchestration.entrypoints.handlers import errors_by_name
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.platform.logs import JsonFormatter
from schemas.errors import UserError
from schemas.ids import AudienceName, Version
from schemas.messages import ImportEnded, JobState
from schemas.tracing import trace_of
from tests.fakes.deployment import ACME, EXECUTION, HANDLER_OF, Deployment

RUNNING = ("REGISTERED", "VERIFYING", "IMPORTING", "AWAITING", "BUILDING", "PUBLISHING")
FINAL: tuple[JobState, ...] = ("READY", "SUPERSEDED", "FAILED", "CANCELLED")
TIMED_OUT = {"Error": "States.Timeout", "Cause": ""}


def in_state(deployment: Deployment, state: str) -> Job:
    """A job in any state, final ones too."""
    if state in RUNNING:
        return deployment.at(state)
    if state == "FAILED":
        job = deployment.at("AWAITING")
        deployment.step(job, "mark_failed", failure=TIMED_OUT)
    elif state == "CANCELLED":
        job = deployment.at("AWAITING")
        deployment.context.import_jobs.cancel(job.job_id)
    elif state == "SUPERSEDED":
        job = deployment.at("PUBLISHING")
        deployment.context.jobs.move(job.job_id, "SUPERSEDED", now_ms=now_ms(), outcome={"version": 1})
    else:
        job = deployment.run(deployment.register())
    job = deployment.context.jobs.get(job.job_id)
    assert job.state == state
    return job


def test_job_passes_every_state_in_order(deployment: Deployment) -> None:
    job = deployment.run(deployment.register())
    assert job.state == "READY", job.error
    assert deployment.states(job) == ["REGISTERED", "VERIFYING", "IMPORTING", "AWAITING", "PUBLISHING", "READY"]


def test_lines_of_a_job_name_its_execution_its_request_and_their_trace(deployment: Deployment) -> None:
    request, caller = deployment.request(), "01jd0000000000000000000002"
    execution = EXECUTION + request.job_id
    parent = trace_of(caller)
    event = {"import": request.as_record(), "caller": {"request_id": caller, "traceparent": str(parent)}}
    deployment.workflow.statuses[execution] = "RUNNING"
    deployment.call("register_import", input=event, execution=execution)
    job = deployment.context.jobs.get(request.job_id)
    assert "caller" not in job.shown.source

    @errors_by_name
    def step(event: Mapping[str, Any], _: object) -> dict[str, Any]:
        deployment.context.import_records.view_for_non_owner(job.job_id, event["execution"])
        written = JsonFormatter().format(logging.LogRecord("step", logging.INFO, __file__, 1, "at work", (), None))
        return dict(json.loads(written))

    line = step({"job_id": job.job_id, "execution": execution}, None)
    assert (line["job"], line["execution"], line["request_id"]) == (job.job_id, job.job_id, caller)
    assert line["trace_id"] == parent.trace_id


def test_an_append_goes_through_building(deployment: Deployment) -> None:
    job = deployment.run(deployment.register(overrides={"mode": "append"}))
    assert job.state == "READY", job.error
    assert deployment.states(job)[-3:] == ["BUILDING", "PUBLISHING", "READY"]


@pytest.mark.parametrize(
    "error", ["States.Timeout", "States.HeartbeatTimeout", "States.TaskFailed", "Sandbox.Timedout"]
)
@pytest.mark.parametrize("state", RUNNING[:-1])
def test_timeout_is_a_system_failure_with_step_and_attempt(deployment: Deployment, state: str, error: str) -> None:
    job = deployment.at(state)
    view = deployment.step(job, "mark_failed", failure={"Error": error, "Cause": "it hangs"})
    assert (view["state"], view["user_error"]) == ("FAILED", False)
    ended = deployment.context.jobs.get(job.job_id)
    assert ended.error is not None
    assert (ended.error.kind, ended.error.code, ended.failed_in) == ("system", error, state)
    last = deployment.context.jobs.history(job.job_id)[-1]
    assert (last.state, last.attempt) == ("FAILED", 1 if state in {"AWAITING", "BUILDING"} else 0)
    assert deployment.versions(job) == []


def test_a_timeout_while_publishing_fails_nothing_and_the_job_rolls_forward(deployment: Deployment) -> None:
    job = deployment.at("PUBLISHING")
    assert deployment.step(job, "mark_failed", failure=TIMED_OUT)["state"] == "PUBLISHING"
    assert deployment.run(job).state == "READY"


@pytest.mark.parametrize("state", FINAL)
def test_no_handler_moves_a_job_that_has_ended(deployment: Deployment, state: str) -> None:
    job = in_state(deployment, state)
    sent, versions = deployment.sent(), deployment.versions(job)
    for handler in sorted(set(HANDLER_OF.values())):
        assert deployment.step(job, handler)["state"] == state
    for handler in ("mark_failed", "retry_import"):
        assert deployment.step(job, handler, failure=TIMED_OUT)["state"] == state
    deployment.begin_await(job)
    assert deployment.workflow.said()[-1] == "success"
    assert deployment.context.jobs.admit(deployment.context.lanes, now_ms=1) == []
    ended = deployment.context.jobs.get(job.job_id)
    assert (ended.state, ended.error, ended.outcome) == (job.state, job.error, job.outcome)
    assert (deployment.sent(), deployment.versions(job)) == (sent, versions)


@pytest.mark.parametrize("state", ["READY", "SUPERSEDED", "FAILED"])
def test_ended_job_cannot_be_cancelled(deployment: Deployment, state: str) -> None:
    job = in_state(deployment, state)
    with pytest.raises(UserError, match="TOO_LATE"):
        deployment.context.import_jobs.cancel(job.job_id)


def test_second_cancel_changes_nothing(deployment: Deployment) -> None:
    job = in_state(deployment, "CANCELLED")
    assert deployment.context.import_jobs.cancel(job.job_id).already


@pytest.mark.parametrize("state", [*RUNNING, "READY", "SUPERSEDED"])
def test_running_or_published_job_is_not_retried(deployment: Deployment, state: str) -> None:
    job = in_state(deployment, state)
    with pytest.raises(UserError, match="NOT_RETRIABLE"):
        deployment.retry(job)


@pytest.mark.parametrize("state", ["FAILED", "CANCELLED"])
def test_a_failed_or_cancelled_job_is_retried_by_a_new_one(deployment: Deployment, state: str) -> None:
    job = in_state(deployment, state)
    again = deployment.retry(job)
    assert (again.retry_of, deployment.run(again).state) == (job.job_id, "READY")
    assert deployment.context.jobs.get(job.job_id).state == state


@pytest.mark.parametrize("state", [*RUNNING, "READY"])
def test_repeated_object_is_a_duplicate_unless_the_job_failed(deployment: Deployment, state: str) -> None:
    job = in_state(deployment, state)
    again = deployment.request(overrides={"mode": "append"} if state == "BUILDING" else {})
    with deployment.full():  # otherwise a registration admits waiting jobs
        view = deployment.call("register_import", input={"import": again.as_record()}, execution="another")
    assert (view["job_id"], view["state"]) == (job.job_id, "DUPLICATE")
    assert deployment.context.jobs.get(job.job_id).state == state
    assert len(deployment.context.jobs.search()) == 1


@pytest.mark.parametrize("state", ["SUPERSEDED", "FAILED", "CANCELLED"])
def test_repeated_object_is_a_new_job_after_a_failure(deployment: Deployment, state: str) -> None:
    job = in_state(deployment, state)
    again = deployment.register()
    assert again.job_id != job.job_id
    assert deployment.run(again).state == "READY"


def uploaded(deployment: Deployment, content: str, **more: Any) -> Job:
    """Register the import of a local file, whose upload is an object of its own each time."""
    deployment.objects.now += timedelta(seconds=1)
    key = f"uploads/acme/vip/{fresh_id()}/a.csv"
    deployment.objects.put("staging", key, content.encode())
    return deployment.register(deployment.request(bucket="staging", key=key, **more))


@pytest.mark.parametrize("state", ["REGISTERED", "VERIFYING", "AWAITING"])
def test_reuploaded_file_is_a_duplicate_of_the_running_job(deployment: Deployment, state: str) -> None:
    with deployment.full() if state == "REGISTERED" else nullcontext():
        job = uploaded(deployment, "A")
        if state != "REGISTERED":
            job = deployment.run(job, until=state)
        assert uploaded(deployment, "A").job_id == job.job_id
    assert len(deployment.context.jobs.search()) == 1


def test_reuploaded_file_is_a_duplicate_of_the_newest_version(
    deployment: Deployment,
) -> None:
    first = deployment.run(uploaded(deployment, "A"))
    assert uploaded(deployment, "A").job_id == first.job_id
    second = deployment.run(uploaded(deployment, "B"))
    third = uploaded(deployment, "A")
    assert len({first.job_id, second.job_id, third.job_id}) == 3
    assert uploaded(deployment, "A").job_id == third.job_id
    assert deployment.run(third).state == "READY"
    assert deployment.versions(third) == [1, 2, 3]
    assert uploaded(deployment, "A").job_id == third.job_id
    assert uploaded(deployment, "A", again=True).job_id != third.job_id


@pytest.mark.parametrize(
    "more", [{"audience": "other"}, {"overrides": {"mode": "append"}}, {"overrides": {"id_column": "email"}}]
)
def test_file_with_another_audience_or_settings_is_a_new_job(deployment: Deployment, more: dict[str, Any]) -> None:
    first = deployment.run(uploaded(deployment, "A"))
    assert uploaded(deployment, "A", **more).job_id != first.job_id


def test_file_is_imported_again_after_a_rollback(deployment: Deployment) -> None:
    first = deployment.run(uploaded(deployment, "A"))
    second = deployment.run(uploaded(deployment, "B"))
    audience = deployment.context.audiences.get(ACME, AudienceName("vip"))
    deployment.context.versions.rollback(
        ref_of(audience), Version(1), operation_id=fresh_id(), order_key="9" * 20, at=datetime.now(UTC)
    )
    known = {first.job_id, second.job_id}
    assert not {uploaded(deployment, content).job_id for content in ("A", "B")} & known


def test_concurrent_uploads_of_one_file_start_one_job(deployment: Deployment) -> None:
    requests = []
    for _ in range(8):
        key = f"uploads/acme/vip/{fresh_id()}/a.csv"
        deployment.objects.put("staging", key, b"A")
        requests.append(deployment.request(bucket="staging", key=key))
    with ThreadPoolExecutor(len(requests)) as pool:
        found = list(pool.map(deployment.register, requests))
    [job] = deployment.context.jobs.search()
    assert {one.job_id for one in found} == {job.job_id}
    assert all(deployment.context.jobs.get(one.job_id).job_id == job.job_id for one in requests)


@pytest.mark.parametrize(
    "handler", ["verify_file", "import_to_kafka", "build_version", "publish_version", "mark_failed"]
)
@pytest.mark.parametrize("state", RUNNING)
def test_superseded_execution_changes_nothing(deployment: Deployment, state: str, handler: str) -> None:
    job = deployment.at(state)
    old = str(job.execution)
    assert deployment.context.jobs.adopt(job.job_id, previous=old, execution="another")
    before, sent = deployment.context.jobs.get(job.job_id), deployment.sent()
    view = deployment.call(handler, job_id=job.job_id, execution=old, failure=TIMED_OUT)
    assert view["state"] == "DUPLICATE"
    assert deployment.context.jobs.get(job.job_id) == before
    assert deployment.sent() == sent


def test_a_zombie_importer_of_an_earlier_attempt_changes_nothing(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = deployment.at("IMPORTING")
    sending = deployment.open_rows
    overtaken = False

    def overtake(*arguments: Any) -> object:
        nonlocal overtaken
        if not overtaken:  # while the first one opens the file, a retry of the step does all of its work
            overtaken = True
            deployment.step(job, "import_to_kafka")
        return sending(*arguments)

    monkeypatch.setattr("orchestration.kinds.send.open_rows", overtake)
    assert deployment.step(job, "import_to_kafka")["state"] == "AWAITING"
    after = deployment.context.jobs.get(job.job_id)
    assert (after.state, after.attempt) == ("AWAITING", 2)
    sent = [m for log in deployment.logs.values() for p in (0, 1) for m in log.decoded(p)]
    assert {m.attempt for m in sent if isinstance(m, ImportEnded)} == {2}
    assert deployment.run(after).state == "READY"
