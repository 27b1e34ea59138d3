"""ExportAudience with a filter, looked-up columns, suppression lists: pinned once, leased, the same in a repeat."""

import json

import pytest

from orchestration.kinds.export.destinations import order_of, request_of
from orchestration.platform.clock import fresh_id
from schemas.errors import UserError
from schemas.export_shape import ExportShape
from schemas.ids import AudienceName, TenantName
from tests.fakes.import_log import InMemoryTopicLog
from tests.integration.lake.export_steps import Exports
from tests.integration.lake.test_export_steps import error_of, received, sweep
from tests.integration.lake.test_recurring_exports import delta, hourly, registered

USERS = tuple(f"user-{n:03d}" for n in range(40))


def shape(**record: object) -> ExportShape:
    return ExportShape.from_record(record)


def test_suppression_list_is_the_version_current_at_registration(exports: Exports) -> None:
    opted_out = exports.audience("opted-out")
    exports.publish(*USERS)
    exports.publish(*USERS[:5], order="1", audience=opted_out)
    export = exports.register(shape=shape(suppress=[{"audience": "opted-out"}], where='user_id < "user-030"'))
    exports.publish(*USERS[:20], order="2", audience=opted_out)
    export = exports.run(export, until="WRITING")
    assert exports.held(audience=opted_out)
    assert exports.expire(opted_out, versions=1, days=0).versions == ()
    export = exports.run(export)
    to = str(export.request["to"])
    assert exports.users(to) == sorted(USERS[5:30])
    manifest = exports.manifest(to)["selection"]
    assert [(one["audience"], one["version"]) for one in manifest["suppression_lists"]] == [("opted-out", 1)]
    assert (manifest["rows_kept"], manifest["rows_filtered"], manifest["rows_suppressed"]) == (25, 10, 5)
    assert not exports.held()
    assert not exports.held(audience=opted_out)
    assert export.outcome is not None
    assert (export.outcome["rows"], export.outcome["rows_filtered"], export.outcome["rows_suppressed"]) == (25, 10, 5)


def test_audience_can_be_used_twice_in_two_versions(exports: Exports) -> None:
    opted_out = exports.audience("opted-out")
    exports.publish(*USERS)
    exports.publish(*USERS[:2], order="1", audience=opted_out)
    exports.publish(*USERS[2:4], order="2", audience=opted_out)
    lists = [{"audience": "opted-out", "version": 1}, {"audience": "opted-out"}, {"audience": "opted-out"}]
    export = exports.run(exports.register(shape=shape(suppress=lists)))
    assert exports.users(str(export.request["to"])) == sorted(USERS[4:])


def test_each_scheduled_run_uses_the_current_suppression_list(exports: Exports) -> None:
    opted_out = exports.audience("opted-out")
    exports.publish(*USERS)
    taken = shape(suppress=[{"audience": "opted-out"}])
    schedule = hourly(exports, since_last=False, shape=taken)
    for hour, gone in enumerate((5, 7)):
        exports.publish(*USERS[:gone], order=str(hour), audience=opted_out)
        export = exports.run(registered(exports, schedule, hour))
        assert exports.users(str(export.request["to"])) == sorted(USERS[gone:])
    changes = hourly(exports, since_last=True, shape=taken, name="changes")
    for hour, (gone, expected) in enumerate([(7, None), (9, [("removed", user) for user in USERS[7:9]])]):
        exports.publish(*USERS[:gone], order=f"{hour}1", audience=opted_out)
        export = exports.run(registered(exports, changes, hour))
        _, base, rows = delta(exports, export)
        assert (rows if base is not None else None) == expected


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> InMemoryTopicLog:
    """The topic for exports to `kafka://members`."""
    log = InMemoryTopicLog(3)
    monkeypatch.setattr("orchestration.kinds.export.topics.open_topic", lambda *_, **__: log)
    return log


def test_topic_gets_remaining_members_and_the_export_counts_omitted_ones(
    exports: Exports, topic: InMemoryTopicLog
) -> None:
    opted_out = exports.audience("opted-out")
    exports.publish(*USERS, order="1")
    exports.publish(*USERS[:5], audience=opted_out)
    taken = shape(suppress=[{"audience": "opted-out"}], where='user_id < "user-030"')
    export = exports.run(exports.register(to="kafka://members", shape=taken))
    assert received(topic) == {export.job_id: sorted(USERS[5:30])}
    assert export.outcome is not None
    assert (export.outcome["rows"], export.outcome["rows_filtered"], export.outcome["rows_suppressed"]) == (25, 10, 5)
    exports.publish(*USERS[10:], "another", order="2")
    delta = exports.run(exports.register(to="kafka://members", delta_from=1, shape=shape(where='user_id != "another"')))
    assert received(topic)[delta.job_id] == sorted(USERS[:10])


def test_chunks_without_a_group_or_its_counts_get_no_end_marker(exports: Exports, topic: InMemoryTopicLog) -> None:
    exports.publish(*USERS)
    for lost in ("partitions", "accounts"):
        export = exports.at("WRITING", to="kafka://members", shape=shape(where='user_id < "user-030"'))
        exports.write(export)
        [first, second, *_] = exports.context.exports.groups(export.job_id)
        assert first.record is not None
        assert second.record is not None
        exports.context.exports.set_group(export.job_id, 1, record={**second.record, lost: first.record[lost]})
        assert error_of(exports.run(export)) == "EXPORT_MISMATCH"
    assert received(topic) == {}


def test_group_reads_and_counts_only_files_of_its_users(exports: Exports) -> None:
    opted_out = exports.audience("opted-out")
    exports.publish(*USERS)
    exports.publish(*USERS, audience=opted_out)
    export = exports.at("WRITING", shape=shape(suppress=[{"audience": "opted-out"}]))
    order = order_of(exports.context.versions, export, request_of(export))
    (suppression,) = order.effective_shape.suppress
    read = [order.bytes_of(group) - group.bytes for group in order.groups()]
    assert len(read) == 4
    assert sorted(read) == sorted(part.bytes for part in suppression.version.parts)
    assert [group.bytes for group in exports.context.exports.groups(export.job_id)] == [
        order.bytes_of(group) for group in order.groups()
    ]


@pytest.mark.parametrize(
    ("record", "code"),
    [
        ({"suppress": [{"audience": "nobody"}]}, "UNKNOWN_AUDIENCE"),
        ({"suppress": [{"audience": "empty"}]}, "NOTHING_PUBLISHED"),
        ({"suppress": [{"audience": "vip", "version": 9}]}, "NO_SUCH_VERSION"),
        ({"where": "age > 3"}, "BAD_FILTER"),
        ({"columns": ["age"]}, "UNKNOWN_COLUMN"),
        ({"attributes": [{"audience": "vip", "columns": ["user_id"]}]}, "UNKNOWN_COLUMN"),
        ({"partition_by": ["user_id"]}, "UNKNOWN_COLUMN"),
    ],
)
def test_invalid_shape_ends_in_a_failed_export_with_the_reason(
    exports: Exports, record: dict[str, object], code: str
) -> None:
    exports.audience("empty")
    exports.publish(*USERS)
    export = exports.run(exports.register(shape=shape(**record)))
    assert (export.state, error_of(export)) == ("FAILED", code)
    assert exports.files(str(export.request["to"])) == []
    sweep(exports)
    assert not exports.held()


def test_audiences_of_another_tenant_are_unknown(exports: Exports) -> None:
    exports.publish(*USERS)
    rival = TenantName("rival")
    exports.context.audiences.add_tenant(rival, 1)
    exports.context.audiences.ensure(rival, AudienceName("secret"), new_id=fresh_id(), now_ms=1)
    export = exports.run(exports.register(shape=shape(suppress=[{"audience": "secret"}])))
    assert error_of(export) == "UNKNOWN_AUDIENCE"


@pytest.mark.parametrize("record", [{"wher": "x"}, {"where": 1}, [], {"suppress": [{"audience": "a", "version": 0}]}])
def test_execution_without_a_shape_is_refused(exports: Exports, record: object) -> None:
    asked = {**exports.request().as_record(), "shape": record}
    with pytest.raises(Exception, match=r"BAD_SHAPE|BAD_EVENT"):
        exports.call("register_export", input={"export": asked}, execution=exports.context.engine.execution_arn("x"))


def test_retry_uses_the_same_versions(exports: Exports) -> None:
    opted_out = exports.audience("opted-out")
    exports.publish(*USERS)
    exports.publish(*USERS[:5], audience=opted_out)
    export = exports.register(shape=shape(suppress=[{"audience": "opted-out"}]))
    exports.context.exports.move(export.job_id, "CANCELLED", now_ms=1)
    exports.publish(*USERS, order="2", audience=opted_out)
    retried = exports.context.export_jobs.retry(export.job_id)
    started = json.loads(exports.workflow.started[-1])
    assert started["export"]["export_id"] == retried
    assert started["export"]["shape"]["suppress"] == [{"audience": "opted-out", "version": 1}]


def test_shaped_request_round_trips_through_json(exports: Exports) -> None:
    request = exports.request(shape=shape(where="user_id is set", columns=[]), row_group_rows=None)
    assert type(request).from_record(json.loads(json.dumps(request.as_record()))) == request
    with pytest.raises(UserError, match="BAD_EVENT"):
        type(request).from_record({**request.as_record(), "row_group_rows": 0})
