"""Recurring imports: what the control plane starts, once, and how it ends."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from orchestration.catalog.schedules import Schedule
from orchestration.composition import control_plane
from orchestration.control.schedules import RETRY_AFTER_MS, SOON_MS
from orchestration.kinds.scheduled import event_of, resolve, run_id
from orchestration.operations.schedules import Edit, run_now, schedule_import, switch
from orchestration.platform.clock import iso
from schemas.errors import FatalError, RetriableError, UserError
from schemas.ids import JobId
from tests.fakes.deployment import EXECUTION, Deployment

MADE_MS = int(datetime(2026, 11, 25, 9, 0, tzinfo=UTC).timestamp() * 1000)
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
SIX_MS = MADE_MS + 21 * HOUR_MS
"""First due time of NIGHTLY."""
NIGHTLY: dict[str, Any] = {
    "name": "nightly",
    "uri": "s3://crm/vip-{date}.csv",
    "expression": "cron(0 6 * * ? *)",
    "timezone": "UTC",
    "tenant": "acme",
    "audience": "vip",
    "overrides": {"mode": "append"},
    "again": False,
    "now_ms": MADE_MS,
}


def make(deployment: Deployment, **changes: Any) -> Schedule:
    return schedule_import(
        **{**NIGHTLY, **changes},
        audiences=deployment.context.audiences,
        schedules=deployment.context.schedules,
        settings=deployment.context.settings,
    )


def kept(deployment: Deployment, name: str = "nightly") -> Schedule:
    return next(s for s in deployment.context.schedules.all() if s.name == name)


def pause(deployment: Deployment) -> Schedule:
    return switch(deployment.context.schedules, Edit(seen=kept(deployment), enabled=False), 0)


def resume(deployment: Deployment, now_ms: int) -> Schedule:
    return switch(deployment.context.schedules, Edit(seen=kept(deployment), enabled=True), now_ms)


def outcome(deployment: Deployment) -> Any:
    """Result of the last run."""
    return deployment.context.schedules.shown(kept(deployment)).last


def events(deployment: Deployment) -> list[Any]:
    return [json.loads(text) for text in deployment.workflow.started]


def due_times(deployment: Deployment) -> list[str]:
    return [event["schedule"]["due"] for event in events(deployment)]


def register(deployment: Deployment, execution: str, event: Any) -> dict[str, Any]:
    return deployment.call("register_import", input=event, execution=execution)


def test_due_schedule_starts_its_import_once_and_continues(deployment: Deployment) -> None:
    made = make(deployment)
    relay = control_plane.schedules(deployment.context)
    relay.tick(SIX_MS - 1)
    assert deployment.workflow.started == []
    for second in range(5):
        relay.tick(SIX_MS + second * 1_000)
    assert due_times(deployment) == ["2026-11-26T06:00:00Z"]
    assert f"{EXECUTION}{made.schedule_id}-{SIX_MS}" in deployment.workflow.statuses
    assert (kept(deployment).next_due_ms, kept(deployment).last_due_ms) == (SIX_MS + DAY_MS, SIX_MS)


def test_control_plane_stays_awake_around_a_run(deployment: Deployment) -> None:
    make(deployment)
    relay = control_plane.schedules(deployment.context)
    ticks = (SIX_MS - MINUTE_MS, SIX_MS - SOON_MS, SIX_MS, SIX_MS + MINUTE_MS)
    assert [relay.tick(now) for now in ticks] == [False, True, True, True]
    [(execution, event)] = deployment.workflow.inputs.items()
    register(deployment, execution, json.loads(event))
    assert [relay.tick(SIX_MS + 2 * MINUTE_MS) for _ in range(2)] == [True, False]


def test_concurrent_relays_start_one_import(deployment: Deployment) -> None:
    make(deployment)
    relays = [control_plane.schedules(deployment.context), control_plane.schedules(deployment.context)]
    [seen] = deployment.context.schedules.due(SIX_MS)
    for relay in relays:
        relay._run(seen, SIX_MS)  # both have read the schedule before either has recorded the run
    assert due_times(deployment) == ["2026-11-26T06:00:00Z"]
    assert kept(deployment).next_due_ms == SIX_MS + DAY_MS


def test_relay_death_after_a_start_starts_nothing_twice(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(deployment)

    def dies(*_: Any, **__: Any) -> bool:
        raise RetriableError("CATALOG_UNAVAILABLE", "no answer")

    with monkeypatch.context() as patch:
        patch.setattr(type(deployment.context.schedules), "record_run", dies)
        with pytest.raises(RetriableError):
            control_plane.schedules(deployment.context).tick(SIX_MS)
    [(execution, event)] = deployment.workflow.inputs.items()
    deployment.workflow.statuses[execution] = "SUCCEEDED"  # and it has ended by the next tick
    control_plane.schedules(deployment.context).tick(SIX_MS + MINUTE_MS)
    assert (len(deployment.workflow.started), json.loads(event)["schedule"]["due"]) == (1, "2026-11-26T06:00:00Z")
    assert kept(deployment).last_due_ms == SIX_MS


def test_only_the_latest_missed_time_is_run(deployment: Deployment) -> None:
    make(deployment, expression="rate(1 minute)")
    control_plane.schedules(deployment.context).tick(MADE_MS + DAY_MS + 30_000)
    assert due_times(deployment) == ["2026-11-26T09:00:00Z"]
    assert kept(deployment).next_due_ms == MADE_MS + DAY_MS + MINUTE_MS


def test_paused_schedule_skips_its_due_times(deployment: Deployment) -> None:
    make(deployment)
    pause(deployment)
    relay = control_plane.schedules(deployment.context)
    relay.tick(SIX_MS + DAY_MS)
    assert deployment.workflow.started == []
    resume(deployment, SIX_MS + DAY_MS + 1)
    relay.tick(SIX_MS + DAY_MS + 1_000)
    assert deployment.workflow.started == []
    relay.tick(SIX_MS + 2 * DAY_MS)
    assert due_times(deployment) == ["2026-11-28T06:00:00Z"]
    assert resume(deployment, 0).next_due_ms == SIX_MS + 3 * DAY_MS  # it is not paused


def test_one_time_schedule_ends_after_its_run(deployment: Deployment) -> None:
    make(deployment, expression="at(2026-11-25T09:00:05)")
    relay = control_plane.schedules(deployment.context)
    relay.tick(MADE_MS + 5_000)
    relay.tick(MADE_MS + DAY_MS)
    assert due_times(deployment) == ["2026-11-25T09:00:05Z"]
    assert kept(deployment).next_due_ms is None
    pause(deployment)
    with pytest.raises(UserError, match="BAD_SCHEDULE"):
        resume(deployment, MADE_MS + DAY_MS)


def test_failed_start_is_retried_and_shown_on_the_schedule(deployment: Deployment) -> None:
    make(deployment)
    deployment.workflow.away = True
    relay = control_plane.schedules(deployment.context)
    relay.tick(SIX_MS)
    trouble = kept(deployment).trouble
    assert (trouble or {})["code"] == "ENGINE_UNAVAILABLE"
    assert kept(deployment).next_due_ms == SIX_MS
    deployment.workflow.away = False
    relay.tick(SIX_MS + RETRY_AFTER_MS - 1)
    assert deployment.workflow.started == []
    relay.tick(SIX_MS + RETRY_AFTER_MS + 1_000)
    assert due_times(deployment) == ["2026-11-26T06:00:00Z"]
    assert kept(deployment).trouble is None


def test_refusal_by_the_engine_is_shown_on_the_schedule(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(deployment)

    def refuses(*_: Any, **__: Any) -> str:
        raise FatalError("ENGINE_REFUSED", "StateMachineDoesNotExist")

    monkeypatch.setattr("orchestration.control.schedules.start_run", refuses)
    control_plane.schedules(deployment.context).tick(SIX_MS)
    shown = deployment.context.schedules.shown(kept(deployment))
    assert (shown.trouble or {})["code"] == "ENGINE_REFUSED"
    assert shown.last is None


def test_failing_schedule_does_not_block_others(deployment: Deployment) -> None:
    make(deployment)
    make(deployment, name="other")
    with deployment.context.database.write() as connection:  # by hand, or by a version with another syntax
        connection.exec_driver_sql("UPDATE schedules SET expression = 'cron(0 6 ? * ? *)' WHERE name = 'nightly'")
    control_plane.schedules(deployment.context).tick(SIX_MS)
    assert len(deployment.workflow.started) == 1
    assert (kept(deployment).trouble or {})["code"] == "BAD_SCHEDULE"


def test_schedule_is_not_run_before_its_recorded_time(deployment: Deployment) -> None:
    make(deployment)
    with deployment.context.database.write() as connection:
        connection.exec_driver_sql("UPDATE schedules SET expression = 'cron(0 6 * * ? 2100)'")
    control_plane.schedules(deployment.context).tick(SIX_MS)
    assert (kept(deployment).trouble or {})["code"] == "SCHEDULE_DAMAGED"


def test_a_run_becomes_a_job_with_its_placeholders_filled(deployment: Deployment) -> None:
    made = make(deployment, timezone="Asia/Tokyo")
    due = MADE_MS + 12 * HOUR_MS  # six o'clock in Tokyo
    deployment.objects.put("crm", "vip-2026-11-26.csv", b"user_id\n1\n")
    relay = control_plane.schedules(deployment.context)
    relay.tick(due)
    [(execution, event)] = deployment.workflow.inputs.items()
    assert outcome(deployment)["state"] == "STARTED"
    register(deployment, execution, json.loads(event))
    job = deployment.context.jobs.get(run_id(made.schedule_id, due))
    assert (job.state, job.mode, job.source["key"], job.execution) == (
        "VERIFYING",
        "append",
        "vip-2026-11-26.csv",
        execution,
    )
    relay.tick(due + 1_000)
    assert kept(deployment).last_outcome == {"job": job.job_id}
    assert outcome(deployment) == {
        "due": iso(due),
        "execution": execution,
        "state": "VERIFYING",
        "job": job.job_id,
        "error": None,
    }
    [entry] = deployment.context.audit.search(job_id=job.job_id)
    assert (entry.actor, entry.action) == (f"schedule {made.schedule_id}", "import")


@pytest.mark.parametrize(("target", "kind"), [("_events", "events"), ("_profiles", "profiles")])
def test_a_run_of_events_or_profiles_becomes_a_job_of_that_kind(deployment: Deployment, target: str, kind: str) -> None:
    made = make(deployment, audience=target, overrides={"timezone": "Europe/Berlin"})
    deployment.objects.put("crm", "vip-2026-11-26.csv", b"user_id\n1\n")
    register(deployment, EXECUTION + "one", event_of(made, SIX_MS))
    job = deployment.context.jobs.get(run_id(made.schedule_id, SIX_MS))
    assert (job.state, job.kind, job.audience_id, job.spec.timezone) == ("VERIFYING", kind, None, "Europe/Berlin")


def test_the_same_run_delivered_twice_is_one_job(deployment: Deployment) -> None:
    made = make(deployment)
    deployment.objects.put("crm", "vip-2026-11-26.csv", b"user_id\n1\n")
    event = event_of(made, SIX_MS)
    first = register(deployment, EXECUTION + "one", event)
    second = register(deployment, EXECUTION + "two", event)
    assert (first["state"], second["state"]) == ("VERIFYING", "DUPLICATE")
    assert first["job_id"] == second["job_id"] == run_id(made.schedule_id, SIX_MS)
    assert len(deployment.context.jobs.search()) == 1


def test_unchanged_object_is_not_imported_again(deployment: Deployment) -> None:
    made = make(deployment, uri="s3://crm/vip.csv", expression="rate(1 hour)")
    deployment.objects.put("crm", "vip.csv", b"user_id\n1\n")
    relay = control_plane.schedules(deployment.context)
    for run in range(2):
        relay.tick(MADE_MS + run * HOUR_MS)
        execution = f"{EXECUTION}{made.schedule_id}-{MADE_MS + run * HOUR_MS}"
        register(deployment, execution, json.loads(deployment.workflow.inputs[execution]))
        relay.tick(MADE_MS + run * HOUR_MS + 1_000)
    assert outcome(deployment) == {
        "due": iso(MADE_MS + HOUR_MS),
        "execution": execution,
        "state": "DUPLICATE",
        "job": run_id(made.schedule_id, MADE_MS),
        "error": None,
    }


def test_missing_object_fails_the_job_not_the_schedule(deployment: Deployment) -> None:
    make(deployment)
    relay = control_plane.schedules(deployment.context)
    relay.tick(SIX_MS)
    [(execution, event)] = deployment.workflow.inputs.items()
    register(deployment, execution, json.loads(event))
    relay.tick(SIX_MS + 1_000)
    last = outcome(deployment)
    assert (last["state"], last["error"]["code"]) == ("FAILED", "SOURCE_GONE")
    assert kept(deployment).next_due_ms == SIX_MS + DAY_MS


def test_run_lost_by_the_engine_is_started_again(deployment: Deployment) -> None:
    make(deployment)
    relay = control_plane.schedules(deployment.context)
    relay.tick(SIX_MS)
    deployment.workflow.statuses.clear()  # the engine died with everything that ran in it
    deployment.workflow.inputs.clear()
    relay.tick(SIX_MS + 1_000)
    assert due_times(deployment) == ["2026-11-26T06:00:00Z"] * 2
    assert len(set(deployment.workflow.started)) == 1
    assert kept(deployment).last_outcome is None


def test_refused_run_shows_the_reason(deployment: Deployment) -> None:
    made = make(deployment)
    relay = control_plane.schedules(deployment.context)
    relay.tick(SIX_MS)
    execution = f"{EXECUTION}{made.schedule_id}-{SIX_MS}"
    failure = {"Error": "UserError", "Cause": json.dumps({"errorMessage": "..."})}
    deployment.call("notify", outcome="not-registered", input={}, failure=failure, execution=execution)
    deployment.workflow.statuses[execution] = "FAILED"
    relay.tick(SIX_MS + 1_000)
    last = outcome(deployment)
    assert (last["state"], last["job"]) == ("REFUSED", None)
    assert last["error"]["code"]


def test_silently_ended_run_counts_as_refused(deployment: Deployment) -> None:
    make(deployment)
    relay = control_plane.schedules(deployment.context)
    relay.tick(SIX_MS)
    [execution] = deployment.workflow.inputs
    deployment.workflow.away = True
    relay.tick(SIX_MS + 1_000)
    assert kept(deployment).last_outcome is None
    deployment.workflow.away = False
    deployment.workflow.statuses[execution] = "ABORTED"
    relay.tick(SIX_MS + 2 * 1_000)
    assert outcome(deployment)["error"] == {
        "kind": "system",
        "code": "NOT_REGISTERED",
        "message": "the execution is ABORTED",
    }


def test_manual_run_does_not_replace_due_runs(deployment: Deployment) -> None:
    made = make(deployment)
    pause(deployment)
    job = run_now(
        "acme", "nightly", MADE_MS + 789, engine=deployment.context.engine, schedules=deployment.context.schedules
    )
    assert job == run_id(made.schedule_id, MADE_MS)
    assert due_times(deployment) == ["2026-11-25T09:00:00Z"]
    assert (kept(deployment).last_due_ms, kept(deployment).next_due_ms) == (MADE_MS, SIX_MS)
    deployment.workflow.away = True
    with pytest.raises(RetriableError, match="ENGINE_UNAVAILABLE"):
        run_now(
            "acme", "nightly", MADE_MS + 1000, engine=deployment.context.engine, schedules=deployment.context.schedules
        )


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"name": "../nightly"}, "BAD_NAME"),
        ({"tenant": "nobody"}, "UNKNOWN_TENANT"),
        ({"audience": "VIP"}, "BAD_NAME"),
        ({"uri": "https://crm/vip.csv"}, "BAD_URI"),
        ({"uri": "s3://crm"}, "BAD_URI"),
        ({"uri": "s3://crm/{user}.csv"}, "BAD_PLACEHOLDER"),
        ({"expression": "every night"}, "BAD_SCHEDULE"),
        ({"expression": "cron(0 6 * * ? 2025)"}, "BAD_SCHEDULE"),
        ({"expression": "at(2026-11-25T08:59:59)"}, "BAD_SCHEDULE"),
        ({"timezone": "Berlin"}, "BAD_TIMEZONE"),
        ({"overrides": {"mode": "merge"}}, "BAD_SPEC"),
        ({"audience": "_events", "overrides": {"mode": "replace"}}, "BAD_SPEC"),
        ({"audience": "_clicks"}, "BAD_NAME"),
    ],
)
def test_impossible_schedule_is_refused_at_creation(deployment: Deployment, changes: dict[str, Any], code: str) -> None:
    with pytest.raises(UserError, match=code):
        make(deployment, **changes)
    assert deployment.context.schedules.all() == []


@pytest.mark.parametrize(
    "schedule",
    [
        None,
        "nightly",
        {},
        {"id": "x", "timezone": "UTC", "due": "2026-11-25T09:00:00Z"},
        {"id": "01m87b5fjxy5p23eqzcwh67tr0", "timezone": "Mars", "due": "2026-11-25T09:00:00Z"},
        {"id": "01m87b5fjxy5p23eqzcwh67tr0", "timezone": "UTC", "due": "2026-11-25T09:00:00"},
        {"id": "01m87b5fjxy5p23eqzcwh67tr0", "timezone": "UTC", "due": "1969-11-25T09:00:00Z"},
        {"id": "01m87b5fjxy5p23eqzcwh67tr0", "timezone": "UTC", "due": "<aws.scheduler.scheduled-time>"},
        {"id": "01m87b5fjxy5p23eqzcwh67tr0", "timezone": "UTC", "due": 7},
    ],
)
def test_malformed_occasion_is_refused(schedule: Any) -> None:
    with pytest.raises(UserError, match="BAD_EVENT"):
        resolve({"schedule": schedule, "import": {"key": "a.csv"}}, "import")


@pytest.mark.parametrize("request_", [None, [], {}, {"key": 7}])
def test_malformed_request_is_refused(request_: Any) -> None:
    occasion = {"id": "01m87b5fjxy5p23eqzcwh67tr0", "timezone": "UTC", "due": "2026-11-25T09:00:00Z"}
    with pytest.raises(UserError, match="BAD_EVENT"):
        resolve({"schedule": occasion, "import": request_}, "import")


def test_request_without_a_schedule_is_unchanged() -> None:
    event = {"import": {"key": "crm/{date}.csv"}}
    assert resolve(event, "import") == (event, None)


def test_the_id_of_a_run_follows_from_the_schedule_and_its_due_time() -> None:
    schedule = JobId("01m87b5fjxy5p23eqzcwh67tr0")
    assert run_id(schedule, MADE_MS) == "01m88yxtm0c6qya87njd2r6mqc"
    assert run_id(schedule, MADE_MS) < run_id(schedule, MADE_MS + 1000)
