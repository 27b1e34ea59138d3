"""Garbage collection in the control plane: lost and stopped executions, old jobs, and unused data."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from orchestration.composition import control_plane
from orchestration.kinds.events import ImportRequest
from orchestration.notifications.recipients import Recipient
from orchestration.platform.clock import fresh_id, now_ms
from schemas.errors import UserError
from schemas.ids import Attempt, JobId, Partition
from schemas.layout import cut_key, intent_key, result_key, staging_prefix
from schemas.messages import ImportAborted
from schemas.topics import IMPORTS_SMALL
from tests.fakes.deployment import Deployment
from tests.fakes.sweeping import sweep as sweep_context

STAGING = "staging"
OPERATORS = Recipient(channel="email", address="ops@example.com", tenant=None)


def sweep(deployment: Deployment, **later: float) -> None:
    sweep_context(deployment.context, deployment.later(**(later or {"minutes": 1})))


@pytest.mark.parametrize("state", ["REGISTERED", "VERIFYING", "IMPORTING", "AWAITING", "BUILDING"])
def test_externally_stopped_execution_cancels_its_job(deployment: Deployment, state: str) -> None:
    job = deployment.at(state)
    deployment.workflow.stop_execution(executionArn=str(job.execution), error="Ops", cause="wrong file")
    sweep(deployment)
    ended = deployment.context.jobs.get(job.job_id)
    assert ended.state == "CANCELLED"
    assert deployment.context.jobs.history(job.job_id)[-1].cause == (
        "EXECUTION_STOPPED: the execution was stopped from outside (Ops: wrong file)"
    )
    assert deployment.workflow.started == []


def test_stopped_publishing_job_rolls_forward_in_a_new_execution(deployment: Deployment) -> None:
    job = deployment.at("PUBLISHING")
    deployment.workflow.stop_execution(executionArn=str(job.execution))
    sweep(deployment)
    assert deployment.context.jobs.get(job.job_id).state == "PUBLISHING"
    assert deployment.workflow.started == [json.dumps({"resume": job.job_id})]
    assert deployment.run(job).state == "READY"


@pytest.mark.parametrize(
    ("state", "status"),
    [
        *((state, None) for state in ("REGISTERED", "VERIFYING", "IMPORTING", "AWAITING", "BUILDING", "PUBLISHING")),
        *(("IMPORTING", status) for status in ("FAILED", "TIMED_OUT", "SUCCEEDED")),
    ],
)
def test_lost_execution_is_replaced_at_the_jobs_state(deployment: Deployment, state: str, status: str | None) -> None:
    job = deployment.at(state)
    if status is None:
        del deployment.workflow.statuses[str(job.execution)]
    else:
        deployment.workflow.statuses[str(job.execution)] = status
    sweep(deployment)
    resumed = deployment.context.jobs.get(job.job_id)
    assert resumed.state == state
    assert resumed.execution != job.execution
    view = deployment.call("register_import", input={"resume": job.job_id}, execution=resumed.execution)
    assert (view["job_id"], view["state"]) == (job.job_id, state)
    assert deployment.run(resumed).state == "READY"
    assert deployment.scans == 1


def test_failing_execution_is_not_replaced_in_every_sweep(deployment: Deployment) -> None:
    job = deployment.at("IMPORTING")
    executions = control_plane.job_reconciler(deployment.context)
    for seconds in range(60, 180, 5):
        deployment.workflow.statuses[str(deployment.context.jobs.get(job.job_id).execution)] = "FAILED"
        executions.tick(deployment.later(seconds=seconds))
    assert len(deployment.workflow.started) == 2


def test_a_young_job_is_left_alone(deployment: Deployment) -> None:
    job = deployment.at("VERIFYING")
    del deployment.workflow.statuses[str(job.execution)]
    sweep_context(deployment.context, job.created_at_ms + 5_000)
    assert deployment.context.jobs.get(job.job_id).execution == job.execution


@pytest.mark.parametrize("state", ["REGISTERED", "VERIFYING", "IMPORTING", "AWAITING", "BUILDING"])
def test_expired_job_fails_in_every_state_and_ends_its_execution(deployment: Deployment, state: str) -> None:
    job = deployment.at(state)
    deployment.context.jobs.put(job.job_id, task_token="t")
    sweep(deployment, days=3, hours=1)
    ended = deployment.context.jobs.get(job.job_id)
    assert ended.error is not None
    assert (ended.state, ended.failed_in, ended.error.code, ended.error.kind) == (
        "FAILED",
        state,
        "JOB_TOO_OLD",
        "system",
    )
    assert deployment.workflow.said() == ["success"]
    assert '"state": "FAILED"' in deployment.workflow.answers[0][1]["output"]


def test_job_does_not_expire_before_three_days(deployment: Deployment) -> None:
    job = deployment.at("AWAITING")
    sweep(deployment, days=2, hours=23)
    assert deployment.context.jobs.get(job.job_id).state == "AWAITING"


@pytest.mark.parametrize("state", ["REGISTERED", "VERIFYING", "IMPORTING", "AWAITING", "BUILDING"])
def test_cancel_before_publishing_aborts_the_execution_and_removes_staged_data(
    deployment: Deployment, state: str
) -> None:
    job = deployment.at(state)
    deployment.objects.put(STAGING, staging_prefix(job.job_id) + "000001/00000/x.parquet", b"x")
    cancelled = deployment.context.import_jobs.cancel(job.job_id)
    assert (cancelled.state, cancelled.already, cancelled.warnings) == ("CANCELLED", False, ())
    assert deployment.workflow.statuses[str(job.execution)] == "ABORTED"
    sweep(deployment)
    aborted = [m for p in (0, 1) for m in deployment.log("", IMPORTS_SMALL).decoded(p) if isinstance(m, ImportAborted)]
    assert len(aborted) == (2 if job.attempt else 0)
    assert deployment.objects.keys(STAGING, staging_prefix(job.job_id)) == []
    assert deployment.versions(job) == []


@pytest.mark.parametrize("attempts", [1, 2])
def test_workers_drop_the_attempts_before_the_published_one(deployment: Deployment, attempts: int) -> None:
    job = deployment.at("AWAITING")
    for _ in range(1, attempts):
        deployment.step(job, "retry_import", failure={"Error": "MaterialisationFailed", "Cause": "rows were lost"})
        job = deployment.run(job, until="AWAITING")
    assert deployment.run(job).outcome["attempt"] == attempts  # type: ignore[index]  # it is published
    sweep(deployment)
    said = [m for p in (0, 1) for m in deployment.log("", IMPORTS_SMALL).decoded(p) if isinstance(m, ImportAborted)]
    assert [m.attempt for m in said] == [1] * 2 * (attempts - 1)


def test_sweeper_completes_a_cancel_after_an_engine_outage(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import EndpointConnectionError  # noqa: PLC0415

    def away(**_: Any) -> None:
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")

    job = deployment.at("AWAITING")
    with monkeypatch.context() as patch:
        patch.setattr(type(deployment.workflow), "stop_execution", lambda _self, **_: away())
        assert deployment.context.import_jobs.cancel(job.job_id).warnings
    assert deployment.workflow.statuses[str(job.execution)] == "RUNNING"
    sweep(deployment)
    assert deployment.workflow.statuses[str(job.execution)] == "ABORTED"


def test_a_cancel_while_publishing_is_refused_and_the_version_is_published(deployment: Deployment) -> None:
    job = deployment.at("PUBLISHING")
    with pytest.raises(UserError, match="TOO_LATE"):
        deployment.context.import_jobs.cancel(job.job_id)
    assert deployment.workflow.statuses[str(job.execution)] == "RUNNING"
    assert deployment.run(job).state == "READY"
    assert deployment.versions(job) == [1]


@pytest.mark.parametrize("handler", ["verify_file", "import_to_kafka", "build_version", "publish_version"])
@pytest.mark.parametrize("state", ["VERIFYING", "IMPORTING", "AWAITING", "BUILDING"])
def test_no_handler_does_anything_for_a_cancelled_job(deployment: Deployment, state: str, handler: str) -> None:
    job = deployment.at(state)
    deployment.context.import_jobs.cancel(job.job_id)
    sent = {topic: [len(p) for p in log.messages] for topic, log in deployment.logs.items()}
    assert deployment.step(job, handler)["state"] == "CANCELLED"
    assert {topic: [len(p) for p in log.messages] for topic, log in deployment.logs.items()} == sent
    assert deployment.versions(job) == []


def uploaded(deployment: Deployment) -> ImportRequest:
    job_id = fresh_id()
    key = f"uploads/acme/vip/{job_id}/a.csv"
    request = deployment.request(bucket=STAGING, key=key)
    return ImportRequest(job_id=job_id, tenant="acme", audience="vip", bucket=STAGING, key=request.key)


def test_the_upload_of_a_published_job_is_removed_when_it_is_swept(deployment: Deployment) -> None:
    job = deployment.run(deployment.register(uploaded(deployment)))
    assert job.state == "READY"
    sweep(deployment)
    assert deployment.objects.keys(STAGING, "uploads/") == []


def test_the_upload_of_a_cancelled_job_is_kept_for_a_retry_and_then_removed(deployment: Deployment) -> None:
    job = deployment.register(uploaded(deployment))
    deployment.context.import_jobs.cancel(job.job_id)
    orphans = control_plane.orphans(deployment.context)
    orphans.tick(deployment.later(hours=71))
    assert len(deployment.objects.keys(STAGING, "uploads/")) == 1
    orphans.tick(deployment.later(hours=73))
    assert deployment.objects.keys(STAGING, "uploads/") == []


def test_the_upload_that_a_retry_reads_is_kept_while_it_runs(deployment: Deployment) -> None:
    first = deployment.register(uploaded(deployment))
    deployment.context.import_jobs.cancel(first.job_id)
    again = deployment.retry(first)
    control_plane.orphans(deployment.context).tick(deployment.later(hours=200))
    assert len(deployment.objects.keys(STAGING, "uploads/")) == 1
    assert deployment.run(again).state == "READY"


def test_unregistered_upload_is_removed_once_no_job_can_follow(
    deployment: Deployment,
) -> None:
    deployment.objects.now = datetime.now(UTC)
    uploaded(deployment)
    orphans = control_plane.orphans(deployment.context)
    orphans.tick(deployment.later(days=2))
    assert len(deployment.objects.keys(STAGING, "uploads/")) == 1
    orphans.tick(deployment.later(days=4))
    assert deployment.objects.keys(STAGING, "uploads/") == []


def test_later_sweep_removes_data_of_a_frozen_worker_but_not_of_live_jobs(
    deployment: Deployment,
) -> None:
    live, ended = deployment.at("AWAITING"), deployment.run(deployment.register(deployment.request("other")))
    sweep(deployment)
    kept = []
    for job in (live, ended):
        for key in (
            staging_prefix(job.job_id, Attempt(1), Partition(0)) + "000000000000-000000000000-ab.parquet",
            intent_key(IMPORTS_SMALL, Partition(0), job.job_id, Attempt(1)),
        ):
            deployment.objects.put(STAGING, key, b"x")
            kept += [key] if job is live else []
    control_plane.orphans(deployment.context).tick(deployment.later(minutes=11))
    assert sorted(deployment.objects.keys(STAGING)) == sorted(kept)


@pytest.mark.parametrize("store", ["available", "refuses"])
def test_data_staged_after_the_sweep_is_removed_when_announced(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    live, ended = deployment.at("AWAITING"), deployment.run(deployment.register(deployment.request("other")))
    sweep(deployment)
    again = result_key(ended.job_id, Attempt(1), Partition(0))
    kept = {result_key(live.job_id, Attempt(1), Partition(0)), result_key(ended.job_id, Attempt(1), Partition(1))}
    for key in (again, *kept):
        deployment.objects.put(STAGING, key, b"x")
    if store == "refuses":

        def refuse(*_: Any) -> None:
            raise UserError("ACCESS_DENIED", "the object store refuses access")

        monkeypatch.setattr(deployment.objects, "delete_all", refuse)
    for job in (ended, live):
        deployment.materialise(job, 0)
    assert set(deployment.objects.keys(STAGING)) == (kept if store == "available" else {again, *kept})
    assert [p.partition for p in deployment.context.progress.partitions(live.job_id)] == [0]


def test_data_of_an_unknown_import_is_removed_after_the_longest_job_age(deployment: Deployment) -> None:
    deployment.objects.now = datetime.now(UTC)
    deployment.objects.put(STAGING, staging_prefix(JobId("01jd0000000000000000000000")) + "000001/x", b"x")
    orphans = control_plane.orphans(deployment.context)
    orphans.tick(deployment.later(days=2))
    assert len(deployment.objects.keys(STAGING)) == 1
    orphans.tick(deployment.later(days=4))
    assert deployment.objects.keys(STAGING) == []


def test_cut_members_are_removed_after_the_longest_job_age(deployment: Deployment) -> None:
    deployment.objects.now = datetime.now(UTC)
    deployment.objects.put(STAGING, cut_key(JobId("01jd0000000000000000000000"), Partition(0), "ab"), b"x")
    orphans = control_plane.orphans(deployment.context)
    orphans.tick(deployment.later(hours=71))
    assert len(deployment.objects.keys(STAGING)) == 1
    orphans.tick(deployment.later(hours=73))
    assert deployment.objects.keys(STAGING) == []


def test_settled_notifications_are_removed_after_thirty_days(deployment: Deployment) -> None:
    outbox, notifier = deployment.context.outbox, control_plane.delivery(deployment.context)
    rows = [outbox.write(f"job-{n}", "ready", [OPERATORS], {}, now_ms=now_ms())[0] for n in range(3)]
    outbox.delivered(rows[0].notification_id, now_ms())
    outbox.failed(rows[1].notification_id, "refused", None)
    notifier.forget(deployment.later(days=29, hours=23))
    assert [row.state for n in range(3) for row in outbox.by_subject(f"job-{n}")] == [
        "delivered",
        "given up",
        "waiting",
    ]
    notifier.forget(deployment.later(days=30, hours=1))
    assert [row.state for n in range(3) for row in outbox.by_subject(f"job-{n}")] == ["waiting"]
