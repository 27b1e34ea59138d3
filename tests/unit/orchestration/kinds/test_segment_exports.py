"""Exports of segments: each waits for a snapshot of its own, and shares the end of that if it was not published."""

import json
from typing import Any

import pytest

from orchestration.catalog.consent import StandingList
from orchestration.catalog.records import Export, Job
from orchestration.composition import control_plane
from orchestration.entrypoints import export_handlers
from orchestration.kinds.export.request import ExportRequest
from orchestration.kinds.export.snapshots import snapshot_of
from orchestration.kinds.places import AllowedLocations
from orchestration.kinds.scheduled import event_of
from orchestration.operations.schedules import schedule_export
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.workflow.engine import EXPORT_MACHINE
from schemas.counters import Counters
from schemas.errors import FatalError, UserError
from schemas.ids import AudienceName, JobId, snapshot_audience
from schemas.manifest import ExportFormat
from tests.fakes.deployment import ACME, EXECUTION, Deployment
from tests.fakes.rules import new_rule
from tests.raising import code_of
from tests.unit.orchestration.kinds import test_snapshots as snapshots
from tests.unit.orchestration.kinds.test_snapshots import BUYERS, RULE, _lake_and_topic

__all__ = ["_lake_and_topic"]
TOKEN = "token-of-export"


@pytest.fixture(autouse=True)
def _handlers(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_handlers, "process_context", lambda: deployment.context)
    monkeypatch.setattr("orchestration.kinds.export.plan.require_free", lambda *_: None)


def request(**given: Any) -> ExportRequest:
    values: dict[str, Any] = {
        "export_id": fresh_id(),
        "tenant": ACME,
        "audience": BUYERS,
        "to": "s3://lake/exports/buyers/1",
        "format": ExportFormat(format="jsonl"),
    }
    return ExportRequest(**{**values, **given})


def call(deployment: Deployment, handler: str, **event: Any) -> dict[str, Any]:
    function: Any = getattr(export_handlers, handler)
    return dict(function(json.loads(json.dumps(event)), None))


def register(deployment: Deployment, wanted: ExportRequest) -> Export:
    context = deployment.context
    execution = context.engine.execution_arn(wanted.export_id, EXPORT_MACHINE)
    deployment.workflow.statuses[execution] = "RUNNING"
    view = call(deployment, "register_export", input={"export": wanted.as_record()}, execution=execution)
    return context.exports.get(JobId(str(view["export_id"])))


def waiting(deployment: Deployment, **given: Any) -> Export:
    """An export whose execution waits, and whose snapshot was started."""
    export = register(deployment, request(**given))
    execution = export.execution
    deployment.call("begin_await", export_id=export.job_id, execution=execution, task_token=TOKEN)
    tick(deployment)
    return deployment.context.exports.get(export.job_id)


def tick(deployment: Deployment) -> bool:
    return control_plane.awaited_snapshots(deployment.context).tick(now_ms())


def step(deployment: Deployment, export: Export, handler: str, **more: Any) -> dict[str, Any]:
    execution = deployment.context.exports.get(export.job_id).execution
    return call(deployment, handler, export_id=export.job_id, execution=execution, **more)


def registered_snapshot(deployment: Deployment, export: Export) -> Job:
    """The snapshot of an export, registered by the execution that the control plane has started."""
    name = str(export.snapshot)
    given = deployment.workflow.inputs[EXECUTION + name]
    deployment.call("register_import", input=json.loads(given), execution=EXECUTION + name)
    return deployment.context.jobs.get(JobId(name))


def published(deployment: Deployment, export: Export, *members: tuple[str, ...]) -> Job:
    job = deployment.run(registered_snapshot(deployment, export), until="AWAITING")
    snapshots.answered(deployment, *members)
    deployment.step(job, "build_version")
    return deployment.run(job)


def planned(deployment: Deployment, export: Export) -> Export:
    """The export after the execution has gone on: planned, or failed with its cause."""
    tick(deployment)
    kind, said = deployment.workflow.answers[-1]
    assert (kind, said["taskToken"], json.loads(said["output"])["state"]) == ("success", TOKEN, "REGISTERED")
    try:
        step(deployment, export, "plan_export")
    except Exception as exc:  # noqa: BLE001  # of a class made for its name
        failure = {"Error": type(exc).__name__, "Cause": json.dumps({"errorMessage": str(exc)})}
        step(deployment, export, "mark_export_failed", failure=failure)
    return deployment.context.exports.get(export.job_id)


def error_of(export: Export) -> tuple[str, str, str]:
    assert export.error is not None, export.state
    return export.error.kind, export.error.code, export.error.message


def sweep(deployment: Deployment) -> None:
    control_plane.ended_exports(deployment.context, Counters()).tick(deployment.later(minutes=2))


def test_export_of_a_segment_writes_the_version_of_its_own_snapshot(deployment: Deployment) -> None:
    export = register(deployment, request())
    audience = snapshot_audience(BUYERS)
    assert (export.state, export.audience, export.leases) == ("AWAITING", audience, ())
    assert deployment.workflow.started == []
    assert tick(deployment)
    tick(deployment)
    assert len(deployment.workflow.started) == 1
    deployment.call("begin_await", export_id=export.job_id, execution=export.execution, task_token=TOKEN)
    registered_snapshot(deployment, export)
    assert tick(deployment)
    assert deployment.workflow.said() == []
    assert step(deployment, export, "plan_export")["state"] == "AWAITING"  # an answer too early changes nothing
    job = published(deployment, export)  # its registration is repeated
    assert (job.job_id, job.state, job.segment, job.audience) == (export.snapshot, "READY", BUYERS, audience)
    export = planned(deployment, export)
    assert (export.state, export.audience, export.audience_id) == ("WRITING", audience, job.audience_id)
    asked = {name: export.request.get(name) for name in ("audience", "segment", "version")}
    assert asked == {"audience": audience, "segment": BUYERS, "version": 1}
    assert [(lease.audience.audience, lease.version) for lease in export.leases] == [(audience, 1)]
    assert not tick(deployment)
    history = deployment.context.exports.history(export.job_id)
    assert [one.state for one in history] == ["AWAITING", "REGISTERED", "WRITING"]
    assert history[1].cause == f"version 1 of {audience}, by snapshot {job.job_id}"


def test_later_versions_are_left_to_later_exports(deployment: Deployment) -> None:
    first, second = waiting(deployment), waiting(deployment, to="s3://lake/exports/buyers/2")
    assert (published(deployment, first).state, published(deployment, second).state) == ("READY", "READY")
    assert [planned(deployment, one).request["version"] for one in (first, second)] == [1, 2]


def test_repeated_registration_starts_no_second_snapshot(deployment: Deployment) -> None:
    wanted = request()
    export = register(deployment, wanted)
    tick(deployment)
    again = call(deployment, "register_export", input={"export": wanted.as_record()}, execution="another")
    assert again["state"] == "DUPLICATE"
    assert register(deployment, wanted) == export
    tick(deployment)
    registered_snapshot(deployment, export)
    tick(deployment)
    assert len(deployment.workflow.started) == 1


def test_lost_start_of_a_snapshot_is_repeated(deployment: Deployment) -> None:
    deployment.workflow.away = True
    export = waiting(deployment)
    assert deployment.workflow.started == []
    deployment.workflow.away = False
    tick(deployment)
    del deployment.workflow.statuses[EXECUTION + str(export.snapshot)]  # the engine lost it before it registered
    tick(deployment)
    assert len(deployment.workflow.started) == 2
    assert published(deployment, export).state == "READY"
    assert planned(deployment, export).state == "WRITING"


def test_snapshot_that_could_not_be_registered_fails_the_export(deployment: Deployment) -> None:
    export = waiting(deployment)
    deployment.workflow.statuses[EXECUTION + str(export.snapshot)] = "FAILED"
    kind, code, message = error_of(planned(deployment, export))
    assert (kind, code) == ("system", "SNAPSHOT_LOST")
    assert str(export.snapshot) in message


def test_failed_snapshot_is_the_cause_of_the_export(deployment: Deployment) -> None:
    export = waiting(deployment)
    deployment.context.segments.pause(ACME, BUYERS, now_ms=5)
    registered_snapshot(deployment, export)
    failed = planned(deployment, export)
    kind, code, message = error_of(failed)
    assert (kind, code, failed.failed_in) == ("user", "SEGMENT_PAUSED", "AWAITING")
    assert message.startswith(f"snapshot {export.snapshot} of segment buyers failed: segment buyers is paused")
    assert code_of(UserError, lambda: deployment.context.export_jobs.retry(failed.job_id)) == "SEGMENT_PAUSED"


def test_system_error_of_a_snapshot_remains_one(deployment: Deployment) -> None:
    export = waiting(deployment)
    job = registered_snapshot(deployment, export)
    failure = {"Error": "States.Timeout", "Cause": "it took too long"}
    deployment.step(job, "mark_failed", failure=failure)
    assert error_of(planned(deployment, export))[:2] == ("system", "States.Timeout")


def test_cancelled_snapshot_fails_the_export_by_name(deployment: Deployment) -> None:
    export = waiting(deployment)
    deployment.context.import_jobs.cancel(registered_snapshot(deployment, export).job_id)
    failed = planned(deployment, export)
    assert error_of(failed)[:2] == ("user", "SNAPSHOT_CANCELLED")
    again = register(deployment, request(export_id=deployment.context.export_jobs.retry(failed.job_id)))
    assert (again.state, again.snapshot == export.snapshot) == ("AWAITING", False)


def test_superseded_snapshot_exports_the_version_that_superseded_it(deployment: Deployment) -> None:
    first, second = waiting(deployment), waiting(deployment, to="s3://lake/exports/buyers/2")
    early = registered_snapshot(deployment, first)
    assert published(deployment, second).state == "READY"
    early = deployment.run(early, until="AWAITING")
    snapshots.answered(deployment)
    deployment.step(early, "build_version")
    assert deployment.run(early).state == "SUPERSEDED"
    assert planned(deployment, first).leases == planned(deployment, second).leases


def test_shrunk_segment_is_exported_only_on_request(deployment: Deployment) -> None:
    assert published(deployment, waiting(deployment)).state == "READY"
    export = waiting(deployment, to="s3://lake/exports/buyers/2")
    assert published(deployment, export, ("ann",), ()).state == "FAILED"
    failed = planned(deployment, export)
    kind, code, message = error_of(failed)
    assert (kind, code) == ("user", "AUDIENCE_WOULD_SHRINK")
    assert message.endswith("if so many members should leave, export again with --allow-shrink")
    retried = deployment.context.export_jobs.retry(failed.job_id, allow_shrink=True)
    event = json.loads(deployment.workflow.started[-1])
    assert event["export"]["audience"] == BUYERS
    allowed = register(deployment, ExportRequest.from_record(event["export"]))
    assert allowed.job_id == retried
    deployment.call("begin_await", export_id=retried, execution=allowed.execution, task_token=TOKEN)
    tick(deployment)
    assert published(deployment, allowed, ("ann",), ()).state == "READY"
    done = planned(deployment, allowed)
    assert (done.state, done.request["version"], "allow_shrink" in done.request) == ("WRITING", 2, False)


def test_schedule_exports_a_segment_once_for_each_time_it_is_due(deployment: Deployment) -> None:
    context = deployment.context
    kept = schedule_export(
        "nightly",
        request(to="s3://lake/exports/{date}", allow_shrink=True),
        expression="cron(0 6 * * ? *)",
        timezone="UTC",
        since_last=True,
        now_ms=now_ms(),
        allowed=AllowedLocations(tenant=ACME, places=context.places, settings=context.settings),
        audiences=context.audiences,
        schedules=context.schedules,
    )
    runs = []
    for day, attempt in ((1, 0), (1, 1), (2, 0)):
        event = event_of(kept, day * 24 * 3_600_000)
        execution = f"{EXECUTION}{day}-{attempt}"
        deployment.workflow.statuses[execution] = "RUNNING"
        view = call(deployment, "register_export", input=event, execution=execution)
        runs.append(context.exports.get(JobId(str(view["export_id"]))))
    assert [one.state for one in runs] == ["AWAITING"] * 3
    assert [(one.job_id, one.snapshot) == (runs[0].job_id, runs[0].snapshot) for one in runs] == [True, True, False]
    assert [one.request["to"] for one in runs[1:]] == ["s3://lake/exports/1970-01-02", "s3://lake/exports/1970-01-03"]
    assert runs[0].request["allow_shrink"] is True


def test_standing_consent_of_the_moment_of_the_version_is_pinned(deployment: Deployment) -> None:
    context = deployment.context
    export = waiting(deployment)
    gone = snapshots.register(deployment, snapshots.request(audience="gone"))
    gone = deployment.run(gone, until="AWAITING")
    snapshots.answered(deployment)
    deployment.step(gone, "build_version")
    assert deployment.run(gone).state == "READY"
    standing = [StandingList(audience_id=JobId(str(gone.audience_id)), audience=AudienceName("gone"))]
    context.consent.replace(ACME, standing, now_ms=now_ms(), check=lambda _: None)
    published(deployment, export)
    done = planned(deployment, export)
    assert [(lease.audience.audience, lease.version) for lease in done.leases] == [(done.audience, 1), ("gone", 1)]
    assert done.request["consent"]["policy"] == 1


@pytest.mark.parametrize("registered", [True, False])
def test_cancelled_export_cancels_its_snapshot(deployment: Deployment, *, registered: bool) -> None:
    export = waiting(deployment)
    job = registered_snapshot(deployment, export) if registered else None
    cancelled = deployment.context.export_jobs.cancel(export.job_id)
    assert (cancelled.state, cancelled.warnings) == ("CANCELLED", ())
    if job is not None:
        assert deployment.context.jobs.get(job.job_id).state == "CANCELLED"
    assert deployment.workflow.statuses[EXECUTION + str(export.snapshot)] == "ABORTED"
    assert not tick(deployment)
    assert step(deployment, export, "plan_export")["state"] == "CANCELLED"


def test_execution_stopped_from_outside_cancels_the_snapshot_too(deployment: Deployment) -> None:
    export = waiting(deployment)
    job = registered_snapshot(deployment, export)
    deployment.workflow.statuses[str(export.execution)] = "ABORTED"
    control_plane.export_reconciler(deployment.context).tick(deployment.later(minutes=1))
    assert deployment.context.exports.get(export.job_id).state == "CANCELLED"
    sweep(deployment)
    assert deployment.context.jobs.get(job.job_id).state == "CANCELLED"


def test_lost_execution_waits_again_in_another(deployment: Deployment) -> None:
    export = waiting(deployment)
    del deployment.workflow.statuses[str(export.execution)]
    control_plane.export_reconciler(deployment.context).tick(deployment.later(minutes=1))
    execution = str(deployment.context.exports.get(export.job_id).execution)
    assert execution != export.execution
    view = call(deployment, "register_export", input={"resume": export.job_id}, execution=execution)
    assert view["state"] == "AWAITING"
    deployment.call("begin_await", export_id=export.job_id, execution=execution, task_token="newer")
    assert published(deployment, export).state == "READY"
    tick(deployment)
    assert deployment.workflow.answers[-1][1]["taskToken"] == "newer"


def test_wait_that_begins_after_the_export_was_cancelled_is_answered_at_once(deployment: Deployment) -> None:
    export = register(deployment, request())
    deployment.context.export_jobs.cancel(export.job_id)
    deployment.call("begin_await", export_id=export.job_id, execution=export.execution, task_token=TOKEN)
    [(kind, said)] = deployment.workflow.answers
    assert (kind, json.loads(said["output"])["state"]) == ("success", "CANCELLED")


def test_segment_with_the_longest_name_has_an_audience_of_its_own(deployment: Deployment) -> None:
    names = [AudienceName("a" * 62 + end) for end in "bc"]
    audiences = {snapshot_audience(name) for name in names}
    assert {len(name) for name in audiences} == {63}
    assert len(audiences) == 2
    assert snapshot_audience("a" * 54) == "a" * 54 + "-snapshot"
    deployment.context.segments.create(ACME, names[0], new_rule(RULE), new_id=fresh_id(), author="a", now_ms=3)
    export = waiting(deployment, audience=names[0])
    assert registered_snapshot(deployment, export).audience == snapshot_audience(names[0])


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"version": 1}, "UNKNOWN_AUDIENCE"),
        ({"as_of": "2026-11-25T09:00Z"}, "UNKNOWN_AUDIENCE"),
        ({"audience": "nobody"}, "UNKNOWN_AUDIENCE"),
    ],
)
def test_request_that_a_segment_cannot_meet_is_refused(
    deployment: Deployment, given: dict[str, Any], code: str
) -> None:
    assert code_of(UserError, lambda: deployment.context.export_jobs.submit(request(**given))) == code
    assert error_of(register(deployment, request(**given)))[1] == code


def test_paused_segment_is_not_exported(deployment: Deployment) -> None:
    deployment.context.segments.pause(ACME, BUYERS, now_ms=5)
    assert code_of(UserError, lambda: deployment.context.export_jobs.submit(request())) == "SEGMENT_PAUSED"
    assert error_of(register(deployment, request()))[1] == "SEGMENT_PAUSED"


def test_shrinking_is_no_option_for_audiences(deployment: Deployment) -> None:
    published(deployment, waiting(deployment))
    with pytest.raises(UserError, match=r"BAD_SPEC.*buyers-snapshot is an audience"):
        deployment.context.export_jobs.submit(request(audience="buyers-snapshot", allow_shrink=True))


def test_export_of_an_audience_waits_for_no_snapshot(deployment: Deployment) -> None:
    published(deployment, waiting(deployment))
    export = register(deployment, request(audience="buyers-snapshot", to="s3://lake/exports/buyers/2"))
    assert (export.state, export.snapshot) == ("REGISTERED", None)
    assert code_of(FatalError, lambda: snapshot_of(export)) == "NO_SNAPSHOT"
