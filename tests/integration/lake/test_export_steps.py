"""ExportAudience step by step: dead, repeated, late and superfluous steps change nothing."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.sinks import exporting
from connectors.sinks.export_files import write_files
from connectors.sinks.s3_prefix import S3Prefix
from orchestration.catalog import tables
from orchestration.catalog.records import Export, JobError
from orchestration.catalog.references import ref_of
from orchestration.composition import administration, control_plane
from orchestration.control.gc import exports as cleaning
from orchestration.control.gc.exports import RETRY_AFTER_MS, SWEEP_AGAIN_AFTER_MS
from orchestration.control.reconciler import HEARTBEAT_MS
from orchestration.kinds import records
from orchestration.kinds.export import plan
from orchestration.kinds.export.destinations import order_of, request_of
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.workflow.engine import EXPORT_MACHINE
from schemas.codec import CODEC
from schemas.counters import Counters
from schemas.errors import MusterError, RetriableError, UserError
from schemas.export_shape import ExportShape
from schemas.ids import JobId, Version
from schemas.manifest import ExportFormat
from schemas.messages import ExportAborted
from schemas.metrics import QUEUE_WAIT
from schemas.topics import HOUR_MS, MAX_JOB_AGE_S
from tests.fakes.import_log import InMemoryTopicLog
from tests.fakes.receivers import Receiver
from tests.fakes.sweeping import sweep as sweep_jobs
from tests.integration.lake.export_steps import Exports
from tests.raising import code_of

USERS = tuple(f"user-{n:03d}" for n in range(60))
LIVE = ("REGISTERED", "WRITING", "FINISHING")


def error_of(export: Export) -> str:
    assert export.error is not None
    return export.error.code


def sweep(exports: Exports, *, since: int | None = None, **later: float) -> None:
    now = (now_ms() if since is None else since) + int(timedelta(**(later or {"minutes": 1})).total_seconds() * 1000)
    context = exports.context
    control_plane.export_reconciler(context).tick(now)
    control_plane.ended_exports(exports.context, Counters()).tick(now)


def test_export_holds_its_version_until_the_manifest_exists(exports: Exports) -> None:
    exports.publish(*USERS)
    export = exports.at("WRITING")
    assert exports.held()
    groups = exports.context.exports.groups(export.job_id)
    assert [group.number for group in groups] == [0, 1, 2, 3]
    view = exports.call("register_export", input={"resume": export.job_id}, execution=export.execution)
    assert view["at_once"] == exports.context.settings.units_side_by_side
    export = exports.run(export)
    assert (export.state, exports.held()) == ("READY", False)
    to = str(export.request["to"])
    assert exports.users(to) == sorted(USERS)
    assert export.outcome is not None
    assert (export.outcome["rows"], export.outcome["manifest"]) == (60, f"{to}/manifest.json")
    history = exports.context.exports.history(export.job_id)
    assert [t.state for t in history] == ["REGISTERED", "WRITING", "FINISHING", "READY"]


def test_requested_version_is_exported_despite_expiry(exports: Exports) -> None:
    exports.publish("old", order="1")
    export = exports.at("WRITING", version=1)
    exports.publish("new", order="2")
    assert exports.expire(exports.vip, versions=1, days=0).versions == ()
    exports.run(export)
    assert exports.users(str(export.request["to"])) == ["old"]
    assert exports.expire(exports.vip, versions=1, days=0).versions == (1,)


def test_version_expired_before_its_hold_is_a_user_error(exports: Exports) -> None:
    exports.publish("old", order="1")
    export = exports.register(version=1)
    exports.publish("new", order="2")
    exports.expire(exports.vip, versions=1, days=0)
    assert error_of(exports.run(export)) == "NO_SUCH_VERSION"


def test_current_version_is_fixed_at_registration_and_as_of_finds_older_ones(exports: Exports) -> None:
    exports.publish("first", order="1")
    export = exports.register()
    exports.publish("second", order="2")
    assert exports.run(export).outcome["version"] == 1  # type: ignore[index]
    assert exports.run(exports.register()).outcome["version"] == 2  # type: ignore[index]
    assert exports.run(exports.register(as_of="2027-01-01")).outcome["version"] == 2  # type: ignore[index]
    assert error_of(exports.register(as_of="2020-01-01T00:00Z")) == "NO_SUCH_VERSION"
    assert error_of(exports.register(as_of="yesterday")) == "BAD_TIME"


def test_expired_current_version_is_not_replaced_by_an_older_held_one(
    exports: Exports,
) -> None:
    for day in (1, 2, 3, 4):
        exports.publish(f"of-day-{day}", order=str(day), published_at=datetime(2026, 11, day, tzinfo=UTC))
        if day == 1:
            exports.at("WRITING")
    assert exports.expire(exports.vip, versions=2, days=0).versions == (2,)
    assert error_of(exports.register(as_of="2026-11-02T12:00Z")) == "NO_SUCH_VERSION"
    assert exports.register(as_of="2026-11-03T12:00Z").request["version"] == 3
    assert exports.register(as_of="2026-11-30").request["version"] == 4


def test_a_delta_holds_both_versions(exports: Exports) -> None:
    exports.publish(*USERS, order="1")
    exports.publish(*USERS[10:], "new", order="2")
    export = exports.run(exports.register(delta_from=1))
    manifest = exports.manifest(str(export.request["to"]))
    assert (manifest["rows"], manifest["delta"]["version"]) == (11, 1)
    assert not exports.held()
    assert error_of(exports.run(exports.register(delta_from=7))) == "NO_SUCH_VERSION"


def test_empty_audience_exports_a_manifest_without_files(exports: Exports) -> None:
    exports.publish()
    export = exports.run(exports.register())
    assert (export.state, exports.files(str(export.request["to"]))) == ("READY", ["manifest.json"])


@pytest.mark.parametrize("state", LIVE)
def test_repeated_export_step_changes_nothing(exports: Exports, state: str) -> None:
    exports.publish(*USERS)
    export = exports.at(state)
    handler = {"REGISTERED": "plan_export", "WRITING": "write_export_group", "FINISHING": "finish_export"}[state]
    more = {"number": "2"} if state == "WRITING" else {}
    for _ in range(2):
        exports.step(export, handler, **more)
    export = exports.run(export)
    exports.step(export, handler, **more)
    assert exports.context.exports.get(export.job_id).state == "READY"
    assert exports.users(str(export.request["to"])) == sorted(USERS)


@pytest.mark.parametrize("when", ["before the first file", "after the first file", "at the end"])
def test_group_of_a_dead_writer_is_rewritten_with_equal_bytes(
    exports: Exports, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    exports.publish(*USERS)
    export = exports.at("WRITING")
    to = str(export.request["to"])
    write = write_files
    died: list[int] = []

    def dying(*given: Any, **options: Any) -> Iterator[Any]:
        for number, file in enumerate(write(*given, **options)):
            if when == "before the first file" and not died:
                died.append(number)
                raise RetriableError("LAKE_UNAVAILABLE", "no answer")
            yield file
        if when != "before the first file" and not died:
            died.append(1)
            raise RetriableError("LAKE_UNAVAILABLE", "no answer")

    monkeypatch.setattr(exporting, "write_files", dying)
    with pytest.raises(Exception, match="LAKE_UNAVAILABLE"):
        exports.step(export, "write_export_group", number="0")
    before = {key: exports.body(to, key) for key in exports.files(to)}
    assert bool(before) == (when != "before the first file")
    exports.run(export)
    assert exports.users(to) == sorted(USERS)
    assert {key: exports.body(to, key) for key in before} == before
    assert [g.attempt for g in exports.context.exports.groups(export.job_id)] == [2, 1, 1, 1]


def test_abandoned_group_fails_the_export_and_leaves_no_files(exports: Exports) -> None:
    exports.publish(*USERS)
    export = exports.at("WRITING")
    exports.step(export, "write_export_group", number="0")
    failure = {"Error": "States.TaskFailed", "Cause": "the task was killed"}
    exports.step(export, "fail_export_group", number="0", failure=failure)  # the group was written after all
    exports.step(export, "fail_export_group", number="2", failure=failure)
    export = exports.run(export)
    assert (export.state, error_of(export)) == ("FAILED", "States.TaskFailed")
    assert export.error is not None
    assert export.error.kind == "system"
    sweep(exports)
    assert (exports.files(str(export.request["to"])), exports.held()) == ([], False)


def test_unwritten_group_is_not_skipped(exports: Exports) -> None:
    exports.publish(*USERS)
    export = exports.at("WRITING")
    for number in "013":
        exports.step(export, "write_export_group", number=number)
    with pytest.raises(Exception, match="GROUP_NOT_WRITTEN"):
        exports.step(export, "finish_export")


def test_user_error_of_a_group_stops_the_others(exports: Exports) -> None:
    exports.publish(*USERS, "=1+1")
    refuse = {"name": "csv", "null_token": "", "formulas": "refuse"}
    export = exports.at("WRITING", format=exports.request().format.from_record(refuse))
    export = exports.run(export)
    assert error_of(export) == "FORMULA_FOUND"
    groups = exports.context.exports.groups(export.job_id)
    assert [g.record for g in groups[[g.error is not None for g in groups].index(True) + 1 :]].count(None) > 0
    sweep(exports)
    assert exports.files(str(export.request["to"])) == []


def test_files_without_a_member_get_no_manifest(exports: Exports) -> None:
    exports.publish(*USERS)
    export = exports.at("WRITING")
    exports.write(export)
    group = exports.context.exports.groups(export.job_id)[1]
    assert group.record is not None
    exports.context.exports.set_group(export.job_id, 1, record={**group.record, "files": []})
    export = exports.run(export)
    assert (export.state, error_of(export)) == ("FAILED", "EXPORT_MISMATCH")
    sweep(exports)
    assert exports.files(str(export.request["to"])) == []


@pytest.mark.parametrize("state", LIVE)
def test_execution_of_another_export_ends(exports: Exports, state: str) -> None:
    exports.publish(*USERS)
    export = exports.at(state)
    other = exports.context.engine.execution_arn("other", EXPORT_MACHINE)
    for handler in ("plan_export", "finish_export", "mark_export_failed"):
        failure = {"Error": "x", "Cause": "y"}
        seen = exports.call(handler, export_id=export.job_id, execution=other, failure=failure)
        assert seen["state"] == "DUPLICATE"
    exports.call("write_export_group", export_id=export.job_id, execution=other, number="0")
    assert exports.context.exports.get(export.job_id).state == state
    assert all(group.attempt == (1 if state == "FINISHING" else 0) for group in look_at(exports, export).groups)
    resumed = exports.call("register_export", input={"resume": export.job_id}, execution=other)
    assert resumed["state"] == "DUPLICATE"


def look_at(exports: Exports, export: Export) -> Any:
    found = exports.context.job_progress.export_view(export.job_id)
    assert found is not None
    return found


@pytest.mark.parametrize("state", LIVE)
def test_cancel_at_every_step(exports: Exports, state: str) -> None:
    exports.publish(*USERS)
    export = exports.at(state)
    if state == "WRITING":
        exports.step(export, "write_export_group", number="0")
    to = str(export.request["to"])
    if state == "FINISHING":
        assert code_of(MusterError, lambda: exports.context.export_jobs.cancel(export.job_id)) == "TOO_LATE"
        assert exports.run(export).state == "READY"
        return
    assert not exports.context.export_jobs.cancel(export.job_id).already
    assert exports.context.export_jobs.cancel(export.job_id).already
    assert exports.workflow.statuses[str(export.execution)] == "ABORTED"
    exports.step(export, "write_export_group", number="1")  # was on its way
    assert exports.step(export, "finish_export")["state"] == "CANCELLED"
    sweep(exports)
    assert (exports.files(to), exports.held()) == ([], False)
    again = exports.context.export_jobs.retry(export.job_id)
    event = json.loads(exports.workflow.started[-1])
    execution = exports.context.engine.execution_arn(again, EXPORT_MACHINE)
    exports.call("register_export", input=event, execution=execution)
    retried = exports.run(exports.context.exports.get(again))
    assert (retried.state, retried.retry_of, exports.users(to)) == ("READY", export.job_id, sorted(USERS))
    assert code_of(MusterError, lambda: exports.context.export_jobs.retry(again)) == "NOT_RETRIABLE"


def test_writer_of_a_cancelled_export_stops(exports: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    exports.publish(*USERS)
    export = exports.at("WRITING")
    monkeypatch.setattr("orchestration.kinds.export.heartbeat.HEARTBEAT_S", 0.01)
    write = write_files

    def slow(*given: Any, on_rows: Callable[[int], None], **options: Any) -> Iterator[Any]:
        exports.context.export_jobs.cancel(export.job_id)
        for _ in range(2_000):
            on_rows(0)
            time.sleep(0.01)
        yield from write(*given, **options)

    monkeypatch.setattr(exporting, "write_files", slow)
    exports.step(export, "write_export_group", number="0")
    group = exports.context.exports.groups(export.job_id)[0]
    assert (group.record, group.error, exports.files(str(export.request["to"]))) == (None, None, [])


@pytest.mark.parametrize("state", ["WRITING", "FINISHING"])
def test_deleted_audience_ends_the_export(exports: Exports, state: str) -> None:
    exports.publish(*USERS)
    export = exports.at(state)
    exports.context.versions.drop(ref_of(exports.vip))
    export = exports.run(export)
    assert (export.state, error_of(export)) == ("FAILED", "AUDIENCE_DELETED")
    sweep(exports)
    assert exports.files(str(export.request["to"])) == []


def test_audience_deleted_during_writing_is_not_a_lake_fault(exports: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    exports.publish(*USERS)
    export = exports.at("WRITING")
    write = write_files

    def deleted(*given: Any, **options: Any) -> Iterator[Any]:
        exports.context.versions.drop(ref_of(exports.vip))
        yield from write(*given, **options)

    monkeypatch.setattr(exporting, "write_files", deleted)
    export = exports.run(export)
    assert (export.state, error_of(export)) == ("FAILED", "AUDIENCE_DELETED")


def test_later_export_to_one_destination_is_refused_while_the_earlier_writes(exports: Exports) -> None:
    exports.publish(*USERS)
    first = exports.at("WRITING")
    to = str(first.request["to"])
    second = exports.run(exports.register(to=to + "/"))
    assert error_of(second) == "DESTINATION_BUSY"
    assert exports.run(first).state == "READY"
    assert error_of(exports.run(exports.register(to=to))) == "DESTINATION_EXISTS"
    sweep(exports)
    assert exports.users(to) == sorted(USERS)


def test_one_of_two_racing_exports_has_the_manifest(exports: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    exports.publish(*USERS)
    monkeypatch.setattr(plan, "_require_alone", lambda *_: None)
    first, place = exports.at("WRITING"), {}
    to = place["to"] = str(first.request["to"])
    second = exports.at("WRITING", **place)
    assert exports.run(second).state == "READY"
    lost = exports.run(first)
    assert (lost.state, error_of(lost)) == ("FAILED", "DESTINATION_EXISTS")
    sweep(exports)
    assert exports.users(to) == sorted(USERS)
    assert exports.manifest(to)["export"] == second.job_id


def test_manifest_with_a_lost_answer_is_found(exports: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    exports.publish(*USERS)
    export = exports.at("FINISHING")
    move = exports.context.exports.move

    def dies(*_: Any, **__: Any) -> Any:
        raise RetriableError("CATALOG_UNAVAILABLE", "gone")

    monkeypatch.setattr(exports.context.exports, "move", dies)
    with pytest.raises(Exception, match="CATALOG_UNAVAILABLE"):
        exports.step(export, "finish_export")
    assert "manifest.json" in exports.files(str(export.request["to"]))
    monkeypatch.setattr(exports.context.exports, "move", move)
    assert exports.run(export).state == "READY"
    assert exports.users(str(export.request["to"])) == sorted(USERS)


def with_manifest(exports: Exports, monkeypatch: pytest.MonkeyPatch) -> Export:
    """An export whose finish died after writing its manifest, before updating the catalog."""
    export = exports.at("FINISHING")

    def dies(*_: Any, **__: Any) -> Any:
        raise RetriableError("CATALOG_UNAVAILABLE", "gone")

    with monkeypatch.context() as patch:
        patch.setattr(exports.context.exports, "move", dies)
        with pytest.raises(Exception, match="CATALOG_UNAVAILABLE"):
            exports.step(export, "finish_export")
    return export


def test_export_with_a_manifest_is_ready_despite_a_deleted_audience(
    exports: Exports, monkeypatch: pytest.MonkeyPatch
) -> None:
    exports.publish(*USERS)
    export = with_manifest(exports, monkeypatch)
    exports.context.versions.drop(ref_of(exports.vip))
    export = exports.run(export)
    assert (export.state, export.outcome["rows"]) == ("READY", 60)  # type: ignore[index]
    sweep(exports)
    assert exports.users(str(export.request["to"])) == sorted(USERS)


@pytest.mark.parametrize("readable", [True, False])
def test_files_of_an_existing_manifest_are_kept_in_any_final_state(
    exports: Exports, *, readable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    exports.publish(*USERS)
    export = with_manifest(exports, monkeypatch)
    expired = JobError(kind="user", code="DESTINATION_CREDENTIALS_EXPIRED", message="expired", detail={})
    exports.context.exports.fail(export.job_id, expired, now_ms=now_ms(), uncommitted=True)
    if not readable:
        monkeypatch.setattr(S3Prefix, "manifest", lambda _: None)
    sweep(exports)
    assert exports.users(str(export.request["to"])) == sorted(USERS)
    assert not exports.held()


def test_files_of_an_export_unfinished_in_a_restored_catalog_are_kept(exports: Exports) -> None:
    exports.publish(*USERS)
    export = exports.at("WRITING")
    exports.run(export)
    with exports.context.database.write() as connection:  # state at the time of the backup
        connection.execute(tables.exports.update().values(state="WRITING", finished_at_ms=None, outcome=None))
    later = MAX_JOB_AGE_S + 60
    sweep(exports, seconds=later)
    sweep(exports, seconds=later + 60)
    assert error_of(exports.context.exports.get(export.job_id)) == "JOB_TOO_OLD"
    assert exports.users(str(export.request["to"])) == sorted(USERS)


@pytest.mark.parametrize(
    ("state", "status"),
    [*((state, None) for state in LIVE), *(("WRITING", status) for status in ("FAILED", "TIMED_OUT", "SUCCEEDED"))],
)
def test_lost_export_execution_is_replaced(exports: Exports, state: str, status: str | None) -> None:
    exports.publish(*USERS)
    export = exports.at(state)
    if status is None:
        del exports.workflow.statuses[str(export.execution)]
    else:
        exports.workflow.statuses[str(export.execution)] = status
    sweep(exports, minutes=2)
    assert exports.workflow.started == [json.dumps({"resume": export.job_id})]
    assert exports.run(export).state == "READY"
    assert exports.users(str(export.request["to"])) == sorted(USERS)


@pytest.mark.parametrize("state", LIVE)
def test_stopped_export_execution_cancels_unless_a_manifest_is_possible(exports: Exports, state: str) -> None:
    exports.publish(*USERS)
    export = exports.at(state)
    exports.workflow.stop_execution(executionArn=str(export.execution), error="Ops", cause="why")
    sweep(exports, minutes=2)
    ended = exports.context.exports.get(export.job_id)
    if state == "FINISHING":
        assert exports.workflow.started == [json.dumps({"resume": export.job_id})]
        assert exports.run(ended).state == "READY"
    else:
        assert ended.state == "CANCELLED"
        assert "EXECUTION_STOPPED" in str(exports.context.exports.history(export.job_id)[-1].cause)


def test_group_without_a_heartbeat_replaces_the_execution(exports: Exports) -> None:
    exports.publish(*USERS)
    export = exports.at("WRITING")
    begun = now_ms()
    exports.context.exports.begin_group(export.job_id, 1, now_ms=begun)
    sweep(exports, since=begun, milliseconds=HEARTBEAT_MS - 1_000)
    assert exports.workflow.started == []
    sweep(exports, since=begun, milliseconds=HEARTBEAT_MS + 1_000)
    assert exports.workflow.started == [json.dumps({"resume": export.job_id})]
    assert exports.workflow.statuses[str(export.execution)] == "ABORTED"
    # The frozen writer wakes up: its execution no longer counts.
    exports.call("write_export_group", export_id=export.job_id, execution=export.execution, number="1")
    assert exports.context.exports.groups(export.job_id)[1].record is None
    assert exports.run(export).state == "READY"


@pytest.mark.parametrize("late", ["its writer", "its execution"])
def test_failure_reported_by_an_older_execution_is_ignored(
    exports: Exports, late: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    exports.publish(*USERS)
    export = exports.at("WRITING")
    gone, new = str(export.execution), exports.context.engine.execution_arn("new", EXPORT_MACHINE)

    def wakes_up(*_: Any, **__: Any) -> Any:
        assert exports.context.exports.adopt(export.job_id, previous=gone, execution=new)
        raise UserError("DESTINATION_CREDENTIALS_EXPIRED", "those of an hour ago")

    if late == "its writer":
        with monkeypatch.context() as patch:
            patch.setattr(exporting, "write_files", wakes_up)
            exports.step(export, "write_export_group", number="1")
    else:
        assert exports.context.exports.adopt(export.job_id, previous=gone, execution=new)
        failure = {"Error": "States.Timeout", "Cause": ""}
        exports.call("fail_export_group", export_id=export.job_id, execution=gone, number="1", failure=failure)
    assert exports.run(export).state == "READY"
    assert exports.users(str(export.request["to"])) == sorted(USERS)


def test_file_of_a_frozen_writer_is_removed_by_the_second_sweep(exports: Exports) -> None:
    exports.publish(*USERS)
    export = exports.at("WRITING")
    exports.step(export, "write_export_group", number="0")
    to = str(export.request["to"])
    [late] = exports.files(to)
    body = exports.body(to, late)
    exports.context.export_jobs.cancel(export.job_id)
    sweep(exports)
    key = to.partition("lake/")[2] + "/"
    for name in (late, "of-somebody-else"):
        exports.context.s3.client().put_object(Bucket="lake", Key=key + name, Body=body)
    sweep(exports, minutes=30)
    assert late in exports.files(to)
    sweep(exports, milliseconds=HOUR_MS + 60_000)
    assert exports.files(to) == ["of-somebody-else"]
    assert exports.context.exports.to_sweep(now_ms() + 9 * HOUR_MS, after_ms=5_000, again_after_ms=HOUR_MS) == []


def test_exports_with_an_unreachable_destination_block_no_others(
    exports: Exports, monkeypatch: pytest.MonkeyPatch
) -> None:
    exports.publish(*USERS)
    away = [exports.at("WRITING") for _ in range(2)]
    here = exports.at("WRITING")
    tried: list[str] = []

    def gone(export: Export, **_: Any) -> None:
        tried.append(export.job_id)
        if export.job_id != here.job_id:
            raise RetriableError("DESTINATION_UNAVAILABLE", "no answer")

    monkeypatch.setattr(cleaning, "clean_up", gone)
    for export in (*away, here):
        exports.context.export_jobs.cancel(export.job_id)
    counters = Counters()
    cleaner, now = control_plane.ended_exports(exports.context, counters), now_ms() + 60_000
    for later in (0, RETRY_AFTER_MS - 1, RETRY_AFTER_MS):
        cleaner.tick(now + later)
    assert [tried.count(export.job_id) for export in (*away, here)] == [2, 2, 1]
    cleaner.tick(now + SWEEP_AGAIN_AFTER_MS)
    assert tried.count(here.job_id) == 2
    waits = [sum(one.counts) for one in counters.samples() if one.metric is QUEUE_WAIT]
    assert waits == [1]  # of the one that was cleaned up, once


def test_sweeper_does_not_wait_for_destinations(exports: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    """It shares a thread with the answers to task tokens, and a silent destination takes minutes."""
    exports.publish(*USERS)
    export = exports.at("WRITING")
    exports.context.export_jobs.cancel(export.job_id)

    def silent(_: S3Prefix) -> Iterator[str]:
        raise AssertionError("it was asked")

    monkeypatch.setattr(S3Prefix, "keys", silent)
    sweep_jobs(exports.context, now_ms() + 60_000)


def test_orphaned_hold_is_found_and_released(exports: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    exports.publish(*USERS)
    monkeypatch.setattr(type(exports.context.objects), "list", lambda *_: [])
    live = exports.at("WRITING")
    exports.context.versions.lease(ref_of(exports.vip), Version(1), fresh_id())

    def orphaned_holds(*, repair: bool = False) -> list[bool]:
        report = administration.fsck(exports.context).run(repair=repair)
        return [f.repaired for f in report.findings if f.code == "HELD_FOR_NOBODY"]

    assert orphaned_holds() == [False]
    assert orphaned_holds(repair=True) == [True]
    assert orphaned_holds() == []
    assert exports.context.versions.leaseholders(ref_of(exports.vip)) == {live.job_id}


def test_endless_export_is_ended(exports: Exports) -> None:
    exports.publish(*USERS)
    export = exports.at("WRITING")
    sweep(exports, seconds=MAX_JOB_AGE_S + 60)
    assert error_of(exports.context.exports.get(export.job_id)) == "JOB_TOO_OLD"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"audience": "nobody"}, "UNKNOWN_AUDIENCE"),
        ({"audience": "../x"}, "BAD_NAME"),
        ({"tenant": "No Such"}, "BAD_NAME"),
        ({"version": 9}, "NO_SUCH_VERSION"),
        ({"to": "/etc/cron.d"}, "BAD_DESTINATION"),
        ({"to": "https://example.com/x"}, "BAD_DESTINATION"),
        ({"to": "s3://bucket/../x"}, "BAD_URI"),
        ({"to": "kafka://topic", "profile": "partner"}, "BAD_DESTINATION"),
    ],
)
def test_impossible_export_is_a_failed_export_visible_to_its_customer(
    exports: Exports, changes: dict[str, Any], code: str
) -> None:
    exports.publish(*USERS)
    export = exports.register(**changes)
    assert (export.state, error_of(export), export.failed_in) == ("FAILED", code, "REGISTERED")
    assert export.error is not None
    assert export.error.kind == "user"
    sweep(exports)
    notified = exports.step(export, "notify_export", outcome="user-error")
    assert notified["user_error"] is True
    [row] = exports.context.outbox.by_subject(export.job_id)
    assert (row.body["kind"], row.body["cause"]["code"], row.body["to"]) == ("export", code, export.request["to"])


@pytest.mark.parametrize(
    "rubbish",
    [
        [],
        None,
        {"export": []},
        {"export": {"export_id": "x"}},
        {"export": {"extra": 1}},
        {"resume": 7},
        {"export": {"format": {"name": "csv", "x": 1}}},
        {"export": {"version": "3"}},
        {"export": {"version": True}},
        {"export": {"target_bytes": 0}},
    ],
    ids=json.dumps,
)
def test_malformed_export_input_is_refused(exports: Exports, rubbish: Any) -> None:
    if isinstance(rubbish, dict) and isinstance(rubbish.get("export"), dict):
        record = {**exports.request().as_record(), **rubbish["export"]}
        rubbish = {"export": record}
    with pytest.raises(Exception, match="BAD_EVENT"):
        exports.call("register_export", input=rubbish, execution="arn:x")
    assert exports.context.exports.search() == []


def test_groups_beyond_the_state_limit_are_refused(exports: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    exports.publish(*USERS)
    monkeypatch.setattr(plan, "GROUPS_MAX", 3)
    assert error_of(exports.run(exports.register())) == "TOO_MANY_GROUPS"
    item = {"number": "99999", "place": "function", "timeout_s": 99_999}
    assert len(json.dumps([item] * records.GROUPS_MAX)) < 256 * 1024


def test_submission_checks_names_and_starts_one_execution(exports: Exports) -> None:
    request = exports.request()
    exports.context.export_jobs.submit(request)
    assert json.loads(exports.workflow.started[-1]) == {"export": request.as_record()}
    assert exports.context.engine.execution_arn(request.export_id, EXPORT_MACHINE) in exports.workflow.statuses
    for changes, code in (({"audience": "x"}, "UNKNOWN_AUDIENCE"), ({"to": "x"}, "BAD_DESTINATION")):
        with pytest.raises(UserError, match=code):
            exports.context.export_jobs.submit(exports.request(**changes))
    assert exports.context.job_progress.export_view(fresh_id()) is None
    assert code_of(MusterError, lambda: exports.context.export_jobs.await_registration(fresh_id())) == "UNKNOWN_EXPORT"

    def registers(_: float) -> None:
        exports.register(request)

    exports.context.export_jobs.await_registration(request.export_id, sleep=registers)
    assert exports.context.exports.get(request.export_id).state == "FAILED"  # nothing is published
    assert code_of(MusterError, lambda: exports.context.export_jobs.cancel(JobId("0" * 26))) == "UNKNOWN_EXPORT"


def test_export_without_a_held_version_is_refused(exports: Exports) -> None:
    export = exports.register(version=9)
    with pytest.raises(MusterError, match="NOTHING_HELD"):
        order_of(exports.context.versions, export, request_of(export))


@pytest.fixture
def topic(exports: Exports, monkeypatch: pytest.MonkeyPatch) -> InMemoryTopicLog:
    """The topic for exports to `kafka://members`."""
    log = InMemoryTopicLog(3)
    monkeypatch.setattr("orchestration.kinds.export.topics.open_topic", lambda *_, **__: log)
    return log


def received(topic: InMemoryTopicLog) -> dict[str, list[str]]:
    """Users of each complete export, as assembled by the receivers' script."""
    done = Receiver().take([value for partition in topic.messages for value in partition]).finished
    return {export_id: sorted(row[0] for _, row in changes) for export_id, changes in done.items()}


def test_topic_gets_the_version_between_markers_despite_repetitions(exports: Exports, topic: InMemoryTopicLog) -> None:
    exports.publish(*USERS)
    export = exports.at("REGISTERED", to="kafka://members")
    for handler in ("plan_export", "plan_export"):
        exports.step(export, handler)
    export = exports.context.exports.get(export.job_id)
    assert (export.state, export.topic_partitions) == ("WRITING", 3)
    for number in "0123":
        exports.step(export, "write_export_group", number=number)
        exports.context.exports.set_group(export.job_id, int(number), record=None)  # its end was never recorded
    assert received(topic) == {}
    export = exports.run(export)
    exports.step(export, "finish_export")
    assert received(topic) == {export.job_id: sorted(USERS)}
    assert export.outcome is not None
    assert (export.outcome["rows"], export.outcome["topic"], export.outcome["manifest"]) == (60, "members", None)
    assert not exports.held()


def test_a_topic_gets_a_delta(exports: Exports, topic: InMemoryTopicLog) -> None:
    exports.publish(*USERS, order="1")
    exports.publish(*USERS[10:], "new", order="2")
    export = exports.run(exports.register(to="kafka://members", delta_from=1))
    assert received(topic) == {export.job_id: sorted([*USERS[:10], "new"])}


def test_topic_gets_a_delta_in_json_or_an_abort(exports: Exports, topic: InMemoryTopicLog) -> None:
    exports.publish(*USERS, order="1")
    exports.publish(*USERS[10:], "new", order="2")
    form = ExportFormat(format="jsonl")
    export = exports.run(exports.register(to="kafka://members", delta_from=1, format=form))
    assert export.state == "READY"
    sent = {key.decode(): value for part in topic.keyed for key, value in part if key is not None}
    assert {user for user, row in sent.items() if row is None} == set(USERS[:10])
    assert [json.loads(row)["user_id"] for row in sent.values() if row is not None] == ["new"]
    cancelled = exports.at("WRITING", to="kafka://members", format=form)
    exports.context.export_jobs.cancel(cancelled.job_id)
    sweep(exports)
    ends = [json.loads(part[-1]) for part in topic.messages]
    assert {(end["type"], end["data"]["export"]) for end in ends} == {("io.muster.export.aborted", cancelled.job_id)}


def test_chunks_without_a_member_get_no_end_marker(exports: Exports, topic: InMemoryTopicLog) -> None:
    exports.publish(*USERS)
    export = exports.at("WRITING", to="kafka://members")
    exports.write(export)
    [first, second, *_] = exports.context.exports.groups(export.job_id)
    assert first.record is not None
    exports.context.exports.set_group(export.job_id, second.number, record={**first.record, "group": 1})
    export = exports.run(export)
    assert error_of(export) == "EXPORT_MISMATCH"
    assert received(topic) == {}


def test_cancelled_topic_export_sends_an_abort(exports: Exports, topic: InMemoryTopicLog) -> None:
    exports.publish(*USERS)
    export = exports.at("WRITING", to="kafka://members")
    exports.step(export, "write_export_group", number="0")
    exports.context.export_jobs.cancel(export.job_id)
    sweep(exports)
    last = [CODEC.decode(partition[-1]) for partition in topic.messages]
    assert {type(message) for message in last} == {ExportAborted}
    assert received(topic) == {}
    never_planned = exports.register(to="kafka://members")
    exports.context.export_jobs.cancel(never_planned.job_id)
    before = [len(partition) for partition in topic.messages]
    sweep(exports)
    assert [len(partition) for partition in topic.messages] == before


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"to": "kafka://muster.imports"}, "DESTINATION_NOT_WRITABLE"),
        ({"to": "kafka://__consumer_offsets"}, "DESTINATION_NOT_WRITABLE"),
        ({"to": "kafka://a/b"}, "BAD_URI"),
        ({"to": "kafka://members", "format": ExportFormat(format="csv", null_token="")}, "BAD_FORMAT"),
        ({"to": "kafka://members", "row_group_rows": 5_000}, "BAD_FORMAT"),
        ({"to": "kafka://members", "shape": ExportShape(partition_by=("country",))}, "BAD_FORMAT"),
    ],
)
def test_export_impossible_on_a_topic_is_refused_first(exports: Exports, changes: dict[str, Any], code: str) -> None:
    exports.publish(*USERS)
    given = {"format": ExportFormat(format="parquet"), **changes}
    assert error_of(exports.register(**given)) == code
    assert code_of(MusterError, lambda: exports.context.export_jobs.submit(exports.request(**given))) == code


def test_unplanned_group_is_an_internal_error(exports: Exports, topic: InMemoryTopicLog) -> None:
    exports.publish(*USERS)
    export = exports.at("WRITING", to="kafka://members")
    exports.context.exports.put(export.job_id, topic_partitions=None)
    assert error_of(exports.run(export)) == "NOT_PLANNED"
    assert received(topic) == {}
