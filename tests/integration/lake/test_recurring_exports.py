"""Recurring exports: a new address each time, and the changes since the last export that is READY."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from orchestration.catalog.records import Export
from orchestration.catalog.references import ref_of
from orchestration.catalog.schedules import Schedule
from orchestration.composition import control_plane
from orchestration.kinds.export.recurring import resolve_scheduled
from orchestration.kinds.places import AllowedLocations
from orchestration.kinds.scheduled import event_of, run_id
from orchestration.operations.audiences import delete
from orchestration.operations.schedules import schedule_export
from orchestration.platform.clock import iso
from orchestration.workflow.engine import EXPORT_MACHINE
from schemas.columns import Column, RowSchema
from schemas.errors import UserError
from schemas.ids import JobId
from schemas.manifest import ExportFormat
from tests.integration.lake.export_steps import ACME, Exports
from tests.integration.lake.support import AT, Parts, new_id, request

MADE_MS = int(datetime(2026, 11, 25, 9, 0, tzinfo=UTC).timestamp() * 1000)
HOUR_MS = 3_600_000


def hourly(
    exports: Exports,
    *,
    since_last: bool = True,
    expression: str = "rate(1 hour)",
    name: str = "hourly",
    **changes: Any,
) -> Schedule:
    return schedule_export(
        name,
        replace(exports.request(), **{"to": f"{exports.place()}/{{date}}-{{hour}}", **changes}),
        expression=expression,
        timezone="UTC",
        since_last=since_last,
        now_ms=MADE_MS,
        allowed=AllowedLocations(tenant=ACME, places=exports.context.places, settings=exports.context.settings),
        audiences=exports.context.audiences,
        schedules=exports.context.schedules,
    )


def registered(exports: Exports, schedule: Schedule, hour: int) -> Export:
    """The run that was due some hours after the schedule was created, registered."""
    due = MADE_MS + hour * HOUR_MS
    execution = exports.context.engine.execution_arn(f"{schedule.schedule_id}-{due}", EXPORT_MACHINE)
    exports.workflow.statuses[execution] = "RUNNING"
    view = exports.call("register_export", input=event_of(schedule, due), execution=execution)
    return exports.context.exports.get(JobId(str(view["export_id"])))


def delta(exports: Exports, export: Export) -> tuple[int, int | None, list[tuple[str, str]]]:
    """(version, base, [(change, user id)]) from the files of a READY export."""
    assert export.state == "READY", export.error
    to = str(export.request["to"])
    manifest = exports.manifest(to)
    rows = [
        (str(file.get("change")), str(json.loads(line)["user_id"]))
        for file in manifest["files"]
        for line in exports.body(to, file["key"]).splitlines()
    ]
    base = manifest["delta"]
    return manifest["version"], None if base is None else base["version"], sorted(rows)


def test_due_recurring_export_is_started_and_its_end_recorded(exports: Exports) -> None:
    exports.publish("a", "b")
    schedule = hourly(exports, since_last=False)
    relay = control_plane.schedules(exports.context)
    relay.tick(MADE_MS + 5)
    [(execution, event)] = exports.workflow.inputs.items()
    assert execution == exports.context.engine.execution_arn(f"{schedule.schedule_id}-{MADE_MS}", EXPORT_MACHINE)
    export = run_id(schedule.schedule_id, MADE_MS)
    exports.call("register_export", input=json.loads(event), execution=execution)
    relay.tick(MADE_MS + 5 + 1_000)
    [kept] = exports.context.schedules.all()
    assert exports.context.schedules.shown(kept).last == {
        "due": iso(MADE_MS),
        "execution": execution,
        "state": "REGISTERED",
        "export": export,
        "error": None,
    }
    done = exports.run(exports.context.exports.get(export))
    assert (exports.context.schedules.shown(kept).last or {})["state"] == "READY"
    assert str(done.request["to"]).endswith("/2026-11-25-09")
    assert exports.users(str(done.request["to"])) == ["a", "b"]
    [entry] = exports.context.audit.search(job_id=export)
    assert (entry.actor, entry.action) == (f"schedule {schedule.schedule_id}", "export")


def test_recurring_delta_is_full_once_and_then_incremental(exports: Exports) -> None:
    schedule = hourly(exports)
    exports.publish("a", "b", order="1")
    first = exports.run(registered(exports, schedule, 0))
    exports.publish("b", "c", order="2")
    exports.publish("b", "c", "d", order="3")
    second = exports.run(registered(exports, schedule, 1))
    third = exports.run(registered(exports, schedule, 2))
    assert delta(exports, first) == (1, None, [("None", "a"), ("None", "b")])
    assert delta(exports, second) == (3, 1, [("added", "c"), ("added", "d"), ("removed", "a")])
    assert delta(exports, third) == (3, 3, [])


def test_failed_run_is_no_base_but_its_retry_is(exports: Exports) -> None:
    schedule = hourly(exports)
    exports.publish("a", order="1")
    exports.run(registered(exports, schedule, 0))
    exports.publish("b", order="2")
    failed = exports.at("WRITING", schedule=schedule.schedule_id, delta_from=1)
    exports.context.exports.move(failed.job_id, "CANCELLED", now_ms=1)
    exports.publish("c", order="3")
    after = exports.run(registered(exports, schedule, 1))
    assert delta(exports, after)[:2] == (3, 1)
    again = exports.context.export_jobs.retry(failed.job_id)
    exports.call(
        "register_export",
        input=json.loads(exports.workflow.started[-1]),
        execution=exports.context.engine.execution_arn(again, EXPORT_MACHINE),
    )
    exports.run(exports.context.exports.get(again))
    exports.publish("d", order="4")
    assert delta(exports, exports.run(registered(exports, schedule, 2)))[:2] == (4, 3)  # and not the retry's 2


def test_run_started_before_the_last_is_ready_shares_its_base(exports: Exports) -> None:
    schedule = hourly(exports)
    exports.publish("a", order="1")
    exports.run(registered(exports, schedule, 0))
    exports.publish("b", order="2")
    slow = registered(exports, schedule, 1)
    exports.publish("c", order="3")
    quick = exports.run(registered(exports, schedule, 2))
    assert delta(exports, quick) == (3, 1, [("added", "c"), ("removed", "a")])
    assert delta(exports, exports.run(slow)) == (2, 1, [("added", "b"), ("removed", "a")])


def test_other_exports_are_not_a_base(exports: Exports) -> None:
    schedule = hourly(exports)
    exports.publish("a", order="1")
    exports.run(exports.register())
    exports.publish("b", order="2")
    assert delta(exports, exports.run(registered(exports, schedule, 0)))[1] is None
    delete(
        exports.vip,
        audiences=exports.context.audiences,
        jobs=exports.context.jobs,
        segments=exports.context.segments,
        versions=exports.context.versions,
        consent=exports.context.consent,
    )
    exports.vip = exports.audience("vip")  # another audience of the same name
    for order in "123":
        exports.publish("c", order=order)
    assert delta(exports, exports.run(registered(exports, schedule, 1)))[:2] == (3, None)


def test_recurring_delta_without_its_base_is_full(exports: Exports) -> None:
    schedule = hourly(exports)
    exports.publish("a", order="1")
    exports.run(registered(exports, schedule, 0))
    exports.publish("b", order="2")
    exports.expire(exports.vip, versions=1, days=0)
    assert delta(exports, exports.run(registered(exports, schedule, 1))) == (2, None, [("None", "b")])


def test_recurring_delta_with_changed_columns_is_full(exports: Exports) -> None:
    schedule = hourly(exports)
    exports.publish("a", order="1")
    exports.run(registered(exports, schedule, 0))
    schema = RowSchema(columns=(Column(name="age", type="long"),))
    ref = ref_of(exports.vip)
    parts = Parts(exports.context.s3).write(ref, new_id(), [{"user_id": "b", "age": 7}], schema, partitions=4)
    exports.context.versions.publish(request(ref, parts, "2", row_schema=schema, partitions=4, published_at=AT))
    assert delta(exports, exports.run(registered(exports, schedule, 1))) == (2, None, [("None", "b")])


def test_run_delivered_twice_is_one_export(exports: Exports) -> None:
    schedule = hourly(exports)
    exports.publish("a")
    event = event_of(schedule, MADE_MS)
    views = [exports.call("register_export", input=event, execution=f"arn:{n}") for n in range(2)]
    assert [view["state"] for view in views] == ["REGISTERED", "DUPLICATE"]
    assert len(exports.context.exports.search()) == 1


def test_run_on_a_deleted_audience_is_a_failed_export(exports: Exports) -> None:
    schedule = hourly(exports)
    exports.context.audiences.delete(exports.vip.audience_id)
    export = registered(exports, schedule, 0)
    assert export.error is not None
    assert (export.state, export.error.code) == ("FAILED", "UNKNOWN_AUDIENCE")


def test_recurring_topic_export_can_reuse_its_address(exports: Exports) -> None:
    made = hourly(exports, to="kafka://crm.vip", format=ExportFormat(format="parquet"))
    assert made.request["to"] == "kafka://crm.vip"


def test_event_without_a_schedule_is_unchanged(exports: Exports) -> None:
    event = {"export": exports.request().as_record()}
    assert resolve_scheduled(event) is event


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"to": "s3://crm/vip"}, "ADDRESS_REPEATS"),
        ({"to": "s3://crm/{date}"}, "ADDRESS_REPEATS"),
        ({"to": "s3://crm/{date}-{user}"}, "BAD_PLACEHOLDER"),
        ({"to": "exports/{due}"}, "BAD_DESTINATION"),
        ({"to": "kafka://crm-{date}"}, "BAD_URI"),
        ({"to": "kafka://muster.imports"}, "DESTINATION_NOT_WRITABLE"),
        ({"to": "kafka://crm.vip", "format": ExportFormat(format="csv", null_token="N")}, "BAD_FORMAT"),
        ({"audience": "nobody"}, "UNKNOWN_AUDIENCE"),
        ({"tenant": "nobody"}, "UNKNOWN_TENANT"),
        ({"expression": "rate(1 hours ago)"}, "BAD_SCHEDULE"),
    ],
)
def test_impossible_recurring_export_is_refused_at_creation(
    exports: Exports, changes: dict[str, Any], code: str
) -> None:
    with pytest.raises(UserError, match=code):
        hourly(exports, **changes)
    assert exports.context.schedules.all() == []
