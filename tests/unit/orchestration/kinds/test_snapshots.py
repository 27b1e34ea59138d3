"""Snapshots of segments: the life of a job whose members are written by the workers."""

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from orchestration.catalog.records import Job
from orchestration.catalog.references import audience_ref
from orchestration.catalog.tables import partition_progress
from orchestration.cli.receipts import print_receipt
from orchestration.cli.rendering import job_lines
from orchestration.composition import administration, control_plane
from orchestration.control.periodic import Lane
from orchestration.kinds.scheduled import event_of
from orchestration.kinds.snapshot.cuts import put_cuts
from orchestration.kinds.snapshot.request import SnapshotRequest
from orchestration.notifications.mail import wording
from orchestration.notifications.notices import body_of
from orchestration.operations.job_records import view_record
from orchestration.operations.schedules import registered, schedule_snapshot
from orchestration.operations.snapshots import snapshot
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.records.questions import Outside, UnknownMembers
from schemas.columns import USER_ID, Column, RowSchema
from schemas.errors import FatalError, UserError
from schemas.ids import AudienceName, JobId, Partition, Version
from schemas.import_spec import ImportSpec
from schemas.layout import cut_key
from schemas.records import as_record
from schemas.row_digest import digest_rows
from schemas.segment_messages import CutRequested, SegmentCut
from schemas.topics import SEGMENT_ACTIVATIONS
from segmentation.rules.canonical import rule_hash
from segmentation.rules.parser import parse_rule
from segmentation.versions import Part
from tests.fakes.deployment import ACME, EXECUTION, PARTITIONS, Deployment
from tests.fakes.rules import new_rule
from tests.fakes.sweeping import sweep
from tests.unit.orchestration.control.test_lost_markers import Alive

BUYERS = AudienceName("buyers")
RULE = "ever(purchase)"
MEMBERS = (("ann", "bob"), ("cid",))
TOKEN = "token-1"


def kept(deployment: Deployment, cuts: list[SegmentCut]) -> None:
    """Store cuts as if the workers had announced them."""
    put_cuts(deployment.context.jobs, deployment.context.progress, cuts, now_ms())


@pytest.fixture(autouse=True)
def _lake_and_topic(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of the lake come from the cuts; `tests/integration/lake/test_cut_parts.py` has real files."""

    def stored(cuts: Iterable[Part], *, import_id: JobId, data_prefix: str, **_: Any) -> tuple[Part, ...]:
        return tuple(replace(c, uri=f"{data_prefix}{import_id}-{c.partition}.parquet", bytes=9) for c in cuts)

    monkeypatch.setattr("orchestration.kinds.snapshot.build.cut_parts", stored)
    monkeypatch.setattr("connectors.publishing.activations.KafkaTopicLog", deployment.log)
    deployment.context.segments.create(ACME, BUYERS, new_rule(RULE), new_id=fresh_id(), author="a", now_ms=1)
    relay(deployment).tick(now_ms())  # sends the rule to the workers


def relay(deployment: Deployment) -> Lane:
    return control_plane.activations(deployment.context).lane()


def request(**given: Any) -> SnapshotRequest:
    values: dict[str, Any] = {"job_id": fresh_id(), "tenant": ACME, "segment": BUYERS, "audience": "buyers-snapshot"}
    return SnapshotRequest(**{**values, **given})


def register(deployment: Deployment, wanted: SnapshotRequest, name: str = "") -> Job:
    execution = EXECUTION + (name or wanted.job_id)
    deployment.workflow.statuses[execution] = "RUNNING"
    view = deployment.call("register_import", input={"snapshot": wanted.as_record()}, execution=execution)
    return deployment.context.jobs.get(JobId(str(view["job_id"])))


def awaiting(deployment: Deployment, **given: Any) -> Job:
    """A job that has sent its request, with a waiting execution."""
    job = deployment.run(register(deployment, request(**given)), until="AWAITING")
    deployment.begin_await(job, TOKEN)
    return deployment.context.jobs.get(job.job_id)


def asked(deployment: Deployment) -> list[CutRequested]:
    """Requests to partition 0; those to the others must be equal."""
    by_partition = [
        [message for message in deployment.logs[SEGMENT_ACTIVATIONS].decoded(p) if isinstance(message, CutRequested)]
        for p in range(PARTITIONS)
    ]
    assert all(found == by_partition[0] for found in by_partition)
    return by_partition[0]


def cut_of(deployment: Deployment, partition: int, users: tuple[str, ...], **given: Any) -> SegmentCut:
    """A worker's answer to the last request."""
    last = asked(deployment)[-1]
    key = cut_key(last.cut_id, Partition(partition), "0")
    values: dict[str, Any] = {
        "cut_id": last.cut_id,
        "rule_version": 1,
        "partitions": PARTITIONS,
        "at_us": last.at_us,
        "events": 10 + partition,
        "profiles": 5,
        "activations": 2,
        "changes": 100 + partition,
        "generation": 7,
        "members": len(users),
        "digest": digest_rows(pa.table({USER_ID: pa.array(users, pa.string())}), RowSchema()),
        "part": f"s3://staging/{key}" if users else None,
    }
    return SegmentCut(tenant=ACME, segment=BUYERS, partition=Partition(partition), **{**values, **given})


def answered(deployment: Deployment, *members: tuple[str, ...], **given: Any) -> None:
    """Let all partitions answer; then the control plane answers the execution."""
    cuts = [cut_of(deployment, partition, users, **given) for partition, users in enumerate(members or MEMBERS)]
    kept(deployment, cuts)
    answer(deployment)


def answer(deployment: Deployment, **later: float) -> None:
    for job in deployment.context.jobs.live():
        control_plane.answers(deployment.context, Alive(), Alive()).answer(job, deployment.later(**later))


def published(deployment: Deployment, **given: Any) -> Job:
    job = awaiting(deployment, **given)
    answered(deployment)
    deployment.step(job, "build_version")
    return deployment.run(job)


def failed_with(deployment: Deployment, wanted: SnapshotRequest) -> str:
    job = register(deployment, wanted)
    assert (job.state, job.shown_kind) == ("FAILED", "snapshot")
    assert job.error is not None
    return job.error.code


def test_segment_members_become_a_version_naming_its_rule(deployment: Deployment) -> None:
    job = published(deployment)
    way = ["REGISTERED", "VERIFYING", "IMPORTING", "AWAITING", "BUILDING", "PUBLISHING", "READY"]
    assert (deployment.states(job), job.error) == (way, None)
    assert [kind for kind, _ in deployment.workflow.answers][-1] == "success"
    info = deployment.context.versions.current(audience_ref(job))
    assert info is not None
    assert info.rule is not None
    assert (job.audience, info.members, info.mode) == ("buyers-snapshot", 3, "replace")
    assert (info.rule.segment, info.rule.rule_version, info.rule.rule_hash) == (BUYERS, 1, rule_hash(parse_rule(RULE)))
    assert int(info.rule.as_of.timestamp() * 1e6) == asked(deployment)[0].at_us


def test_snapshot_receipt_adds_up_and_names_the_next_changes(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    job = published(deployment)
    receipt = deployment.context.jobs.receipt(job.job_id)
    assert receipt is not None
    shown = {name: receipt[name] for name in ("kind", "source", "accepted", "distinct", "duplicates", "members")}
    assert shown == {
        "kind": "snapshot",
        "source": {"segment": "buyers"},
        "accepted": 3,
        "distinct": 3,
        "duplicates": 0,
        "members": 3,
    }
    assert receipt["snapshot"]["rule_version"] == 1
    print_receipt(dict(receipt))
    shown_to_people = capsys.readouterr().out
    assert "acme/buyers-snapshot version 1, READY" in shown_to_people
    assert "buyers, rule version 1" in shown_to_people
    places = [
        {name: p[name] for name in ("partition", "records", "changes", "generation", "events")}
        for p in receipt["partitions"]
    ]
    assert places == [
        {"partition": 0, "records": 2, "changes": 100, "generation": 7, "events": 10},
        {"partition": 1, "records": 1, "changes": 101, "generation": 7, "events": 11},
    ]


def test_snapshot_receipt_counts_audience_members_outside(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (deployment.context.jobs.receipt(published(deployment).job_id) or {})["outside"] == []
    outside = Outside(audience="vip", version=Version(3), users=1_700)
    found = UnknownMembers(outside=(outside,), known_only_by=(replace(outside, audience="gold", users=12),))
    monkeypatch.setattr("orchestration.kinds.segment_meaning.Meanings.unknown_members", lambda *_: found)
    receipt = deployment.context.jobs.receipt(published(deployment).job_id)
    assert receipt is not None
    assert receipt["outside"] == [{"audience": "vip", "version": 3, "users": 1_700}]
    print_receipt(dict(receipt))
    printed = " ".join(capsys.readouterr().out.split())
    assert "outside 1,700 members of vip (no event, no profile) " in printed
    assert "known only by audience gold: 12 users (no event, no profile) " in printed


def test_snapshot_is_published_even_if_members_outside_cannot_be_counted(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def too_big(*_: Any) -> Any:
        raise UserError("RULE_TOO_BIG", "no memory")

    monkeypatch.setattr("orchestration.kinds.segment_meaning.Meanings.unknown_members", too_big)
    receipt = deployment.context.jobs.receipt(published(deployment).job_id)
    assert receipt is not None
    assert (receipt["state"], receipt["outside"]) == ("READY", None)
    print_receipt(dict(receipt))
    assert "outside   not counted\n" in capsys.readouterr().out


def test_large_segment_is_built_in_its_own_task(deployment: Deployment) -> None:
    awaiting(deployment)
    answered(deployment)
    few = json.loads(deployment.workflow.answers[-1][1]["output"])
    large = deployment.context.settings.lambda_file_bytes
    job = deployment.context.jobs.live()[0]
    [row, _] = deployment.context.progress.partitions(job.job_id)
    with deployment.context.database.write() as connection:
        connection.execute(partition_progress.update().values(record={**row.record, "distinct": large}))
    answer(deployment)
    many = json.loads(deployment.workflow.answers[-1][1]["output"])
    assert (few["state"], few["place"], many["place"]) == ("BUILDING", "function", "task")
    assert all(many["timeouts"][name] > few["timeouts"][name] for name in ("build_s", "publish_s"))


def test_empty_segment_is_an_empty_version(deployment: Deployment) -> None:
    job = awaiting(deployment)
    answered(deployment, (), ())
    deployment.step(job, "build_version")
    assert deployment.run(job).outcome == {
        "version": 1,
        "snapshot_id": 1,
        "members": 0,
        "digest": str(digest_rows(pa.table({USER_ID: pa.array([], pa.string())}), RowSchema())),
        "attempt": 1,
    }


def test_cuts_are_requested_for_a_future_instant_no_earlier_than_named(
    deployment: Deployment,
) -> None:
    before_us = now_ms() * 1000
    awaiting(deployment)
    assert before_us < asked(deployment)[-1].at_us < before_us + 60_000_000
    at_ms = now_ms() + 3_000_000
    awaiting(deployment, at_ms=at_ms)
    assert asked(deployment)[-1].at_us == at_ms * 1000


def test_cuts_wait_until_workers_know_the_rule(deployment: Deployment) -> None:
    deployment.context.segments.edit(ACME, BUYERS, new_rule("never(purchase)"), author="a", now_ms=2)
    job = deployment.run(register(deployment, request()), until="IMPORTING")
    with pytest.raises(Exception, match="SEGMENT_NOT_READY") as raised:
        deployment.step(job, "import_to_kafka")
    assert type(raised.value).__name__ == "RetriableError"
    relay(deployment).tick(now_ms())
    deployment.step(job, "import_to_kafka")
    assert deployment.context.jobs.get(job.job_id).state == "AWAITING"


def test_missing_partition_is_asked_again_before_building(deployment: Deployment) -> None:
    job = awaiting(deployment)
    kept(deployment, [cut_of(deployment, 0, MEMBERS[0])])
    answer(deployment, minutes=1)
    assert deployment.workflow.said() == ["heartbeat"]
    again = relay(deployment)
    again.tick(deployment.later(minutes=1))
    again.tick(deployment.later(minutes=1, seconds=1))
    again.tick(deployment.later(minutes=2))
    first, *copies = asked(deployment)
    assert copies == [first, first]
    control_plane.lost_markers(deployment.context, None).tick([], now_ms())  # type: ignore[arg-type]  # it looks at no snapshot
    with pytest.raises(Exception, match="NOT_COMPLETE"):
        deployment.step(job, "build_version")
    assert deployment.versions(job) == []


def test_snapshots_do_not_look_for_end_markers(deployment: Deployment) -> None:
    awaiting(deployment)
    control_plane.lost_markers(deployment.context, None).tick(deployment.context.jobs.live(), now_ms())  # type: ignore[arg-type]


def test_cut_by_another_rule_version_ends_the_attempt(
    deployment: Deployment,
) -> None:
    job = awaiting(deployment)
    deployment.context.segments.edit(ACME, BUYERS, new_rule("never(purchase)"), author="a", now_ms=2)
    relay(deployment).tick(now_ms())
    kept(deployment, [cut_of(deployment, 1, ("cid",), rule_version=2)])
    answer(deployment)
    [(kind, said)] = deployment.workflow.answers
    assert (kind, said["error"]) == ("failure", "MaterialisationFailed")
    assert said["cause"] == "partition 1 has rule version 2, but version 1 was requested"
    deployment.step(job, "retry_import", failure={"Error": "MaterialisationFailed", "Cause": said["cause"]})
    job = deployment.run(job, until="AWAITING")
    first, *_, second = asked(deployment)
    assert (first.cut_id != second.cut_id, job.attempt) == (True, 2)
    answered(deployment, rule_version=2)
    deployment.step(job, "build_version")
    job = deployment.run(job)
    info = deployment.context.versions.current(audience_ref(job))
    assert info is not None
    assert info.rule is not None
    assert (info.attempt, info.rule.rule_version) == (2, 2)
    assert info.rule.rule_hash == rule_hash(parse_rule("never(purchase)"))


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"members": 3}, "reports 3 members, but its digest is"),
        ({"part": None}, "reports 2 members in no file"),
        ({"rule_version": 0}, "has no such segment, but version 1 was requested"),
        ({"partitions": 3}, "partition 0 of 3 was cut, but the job has 2"),
    ],
)
def test_cut_that_differs_from_its_request_is_not_built(
    deployment: Deployment, given: dict[str, Any], fault: str
) -> None:
    job = awaiting(deployment)
    kept(deployment, [cut_of(deployment, 1, MEMBERS[1]), cut_of(deployment, 0, MEMBERS[0], **given)])
    answer(deployment)
    [(kind, said)] = deployment.workflow.answers
    assert (kind, fault in said["cause"]) == ("failure", True), said
    with pytest.raises(Exception, match="NOT_COMPLETE"):
        deployment.step(job, "build_version")


def test_first_answer_of_a_partition_counts(deployment: Deployment) -> None:
    awaiting(deployment)
    kept(deployment, [cut_of(deployment, 0, MEMBERS[0])])
    kept(deployment, [cut_of(deployment, 0, ("late",), at_us=1, changes=500)])
    kept(deployment, [cut_of(deployment, 0, ("late",), rule_version=9)])
    answered(deployment)
    [row, _] = deployment.context.progress.partitions(deployment.context.jobs.live()[0].job_id)
    assert (row.materialised, row.record["records"], row.record["cut"]["changes"]) == (True, 2, 100)


def test_foreign_and_outdated_cuts_are_skipped(deployment: Deployment) -> None:
    job = awaiting(deployment)
    old = cut_of(deployment, 0, MEMBERS[0])
    deployment.step(job, "retry_import", failure={"Error": "MaterialisationFailed", "Cause": ""})
    deployment.run(job, until="AWAITING")
    of_a_check = replace(old, cut_id=fresh_id())
    kept(deployment, [old, of_a_check])
    assert deployment.context.progress.partitions(job.job_id) == []


def test_file_that_contradicts_its_cut_fails_the_job(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    job = awaiting(deployment)
    answered(deployment)

    def other(*_: Any, **__: Any) -> Any:
        raise FatalError("PART_MISMATCH", "digest ..., but ... was announced")

    monkeypatch.setattr("orchestration.kinds.snapshot.build.cut_parts", other)
    with pytest.raises(Exception, match="PART_MISMATCH") as raised:
        deployment.step(job, "build_version")
    assert type(raised.value).__name__ == "FatalError"
    assert deployment.versions(job) == []


def test_part_that_lost_a_member_is_not_published(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    job = awaiting(deployment)
    answered(deployment)
    one = digest_rows(pa.table({USER_ID: pa.array(["ann"], pa.string())}), RowSchema())
    lossy = Part(uri="s3://lake/p", rows=1, bytes=9, digest=one, partition=Partition(0))
    monkeypatch.setattr("orchestration.kinds.snapshot.build.cut_parts", lambda *_, **__: (lossy,))
    with pytest.raises(Exception, match="PART_MISMATCH"):
        deployment.step(job, "build_version")
    assert deployment.versions(job) == []


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"segment": "nobody"}, "UNKNOWN_SEGMENT"),
        ({"segment": "No body"}, "BAD_NAME"),
        ({"audience": "buyers"}, "NAME_TAKEN"),
        ({"audience": "_events"}, "BAD_NAME"),
        ({"tenant": "nobody"}, "UNKNOWN_SEGMENT"),
        ({"at_ms": 9_000_000_000_000_000}, "BAD_TIME"),
    ],
)
def test_impossible_snapshot_request_fails_with_the_reason(
    deployment: Deployment, given: dict[str, Any], code: str
) -> None:
    assert failed_with(deployment, request(**given)) == code


def test_paused_segment_makes_no_snapshot(deployment: Deployment) -> None:
    job = deployment.run(register(deployment, request()), until="IMPORTING")
    deployment.context.segments.pause(ACME, BUYERS, now_ms=2)
    assert failed_with(deployment, request()) == "SEGMENT_PAUSED"
    with pytest.raises(Exception, match="SEGMENT_PAUSED") as raised:
        deployment.step(job, "import_to_kafka")
    assert type(raised.value).__name__ == "UserError"
    with pytest.raises(UserError, match="SEGMENT_PAUSED"):
        snapshot(
            ACME,
            BUYERS,
            audiences=deployment.context.audiences,
            engine=deployment.context.engine,
            segments=deployment.context.segments,
        )


@pytest.mark.parametrize(
    "event",
    [
        {"snapshot": None},
        {"snapshot": {**request().as_record(), "job_id": "x"}},
        {"snapshot": {**request().as_record(), "allow_shrink": "yes"}},
        {"snapshot": {**request().as_record(), "at_ms": "now"}},
        {"snapshot": {**request().as_record(), "more": 1}},
    ],
)
def test_malformed_snapshot_request_is_refused_without_a_job(deployment: Deployment, event: dict[str, Any]) -> None:
    with pytest.raises(Exception, match="BAD_EVENT"):
        deployment.call("register_import", input=event, execution=EXECUTION + "x")
    assert deployment.context.jobs.search() == []


def test_repeated_snapshot_request_is_the_same_job(deployment: Deployment) -> None:
    wanted = request()
    first = register(deployment, wanted)
    assert register(deployment, wanted).job_id == first.job_id
    assert register(deployment, wanted, name="another").job_id == first.job_id
    assert len(deployment.context.jobs.search()) == 1


def test_snapshot_is_requested_through_the_workflow(deployment: Deployment) -> None:
    job_id = snapshot(
        ACME,
        BUYERS,
        at=datetime.now(UTC) + timedelta(minutes=50),
        allow_shrink=True,
        audiences=deployment.context.audiences,
        engine=deployment.context.engine,
        segments=deployment.context.segments,
    )
    [started] = deployment.workflow.started
    wanted = SnapshotRequest.from_record(json.loads(started)["snapshot"])
    assert (wanted.job_id, wanted.segment, wanted.audience, wanted.allow_shrink) == (
        job_id,
        "buyers",
        "buyers-snapshot",
        True,
    )
    for at in (datetime.now(UTC) - timedelta(minutes=1), datetime.now(UTC) + timedelta(minutes=61)):
        with pytest.raises(UserError, match="BAD_TIME"):
            snapshot(
                ACME,
                BUYERS,
                at=at,
                audiences=deployment.context.audiences,
                engine=deployment.context.engine,
                segments=deployment.context.segments,
            )


def test_schedule_makes_one_snapshot_per_due_time(deployment: Deployment) -> None:
    context, due_ms = deployment.context, 1_795_597_200_000
    wanted = request(job_id=JobId(""), allow_shrink=True)
    daily = schedule_snapshot(
        "daily",
        wanted,
        expression="rate(1 day)",
        timezone="UTC",
        now_ms=due_ms,
        audiences=context.audiences,
        schedules=context.schedules,
        segments=context.segments,
    )
    for name in ("by-the-relay", "by-the-scheduler"):
        deployment.workflow.statuses[EXECUTION + name] = "RUNNING"
        deployment.call("register_import", input=event_of(daily, due_ms), execution=EXECUTION + name)
    [job] = context.jobs.search()
    assert (job.segment, job.audience, job.spec.max_shrink_percent) == (BUYERS, "buyers-snapshot", None)
    assert registered(context.jobs, context.exports, daily, due_ms) == {"job": job.job_id}
    with pytest.raises(UserError, match="UNKNOWN_SEGMENT"):
        schedule_snapshot(
            "other",
            request(segment="x"),
            expression="rate(1 day)",
            timezone="UTC",
            now_ms=due_ms,
            audiences=context.audiences,
            schedules=context.schedules,
            segments=context.segments,
        )


def test_excessive_shrink_is_refused_unless_allowed(deployment: Deployment) -> None:
    published(deployment)

    def shrunk(**given: Any) -> Job:
        job = awaiting(deployment, **given)
        answered(deployment, ("ann",), ())
        deployment.step(job, "build_version")
        return deployment.run(job)

    refused = shrunk()
    assert refused.error is not None
    assert (refused.state, refused.error.code) == ("FAILED", "AUDIENCE_WOULD_SHRINK")
    allowed = shrunk(allow_shrink=True)
    assert (allowed.state, deployment.versions(allowed)) == ("READY", [1, 2])


def test_snapshot_drops_audience_columns_only_on_request(deployment: Deployment) -> None:
    context, name = deployment.context, AudienceName("buyers-snapshot")
    age = Column(name="age", type="long")
    made = context.audiences.ensure(ACME, name, new_id=fresh_id(), now_ms=1, spec=ImportSpec(columns=(age,)))
    refused = register(deployment, request())
    assert refused.error is not None
    assert refused.error.code == "COLUMNS_WOULD_CHANGE"
    assert "A snapshot has no columns: give it its own audience" in refused.error.message
    spec = ImportSpec(drop_columns=("age",))  # as after `muster audiences configure --drop-column age`
    context.audiences.configure(made.audience_id, spec=spec, retention=made.retention)
    job = published(deployment)
    assert (job.spec.drop_columns, context.audiences.get(ACME, name).spec.drop_columns) == (("age",), ())


def test_later_snapshot_is_not_replaced_by_an_earlier_one(deployment: Deployment) -> None:
    early, late = request(), request()
    first = register(deployment, early)
    second = deployment.run(register(deployment, late), until="AWAITING")
    answered(deployment)
    deployment.step(second, "build_version")
    assert deployment.run(second).state == "READY"
    first = deployment.run(first, until="AWAITING")
    answered(deployment)
    deployment.step(first, "build_version")
    assert deployment.run(first).state == "SUPERSEDED"


def test_a_cancelled_snapshot_is_retried_for_the_same_segment(deployment: Deployment) -> None:
    job = awaiting(deployment, audience="fans", allow_shrink=True)
    assert deployment.context.import_jobs.cancel(job.job_id).warnings == ()
    again = deployment.retry(job)
    assert (again.retry_of, again.segment, again.audience, again.state) == (job.job_id, BUYERS, "fans", "VERIFYING")
    assert again.spec.max_shrink_percent is None


def test_refused_snapshot_is_retried_once_its_segment_exists(deployment: Deployment) -> None:
    job = register(deployment, request(segment="later"))
    deployment.context.segments.create(
        ACME, AudienceName("later"), new_rule(RULE), new_id=fresh_id(), author="a", now_ms=2
    )
    assert deployment.retry(job).error is None


def test_staged_members_are_removed_when_the_job_has_ended(deployment: Deployment) -> None:
    job = awaiting(deployment)
    staged = cut_of(deployment, 0, MEMBERS[0]).part
    assert staged is not None
    bucket = deployment.context.settings.staging_bucket
    mine, anothers = staged.removeprefix("s3://staging/"), cut_key(fresh_id(), Partition(0), "0")
    deployment.objects.now = datetime.now(UTC)
    for key in (mine, anothers):
        deployment.objects.put(bucket, key, b"")
    answered(deployment)
    deployment.step(job, "build_version")
    deployment.run(job)
    sweep(deployment.context, deployment.later(minutes=1))
    assert deployment.objects.keys(bucket, "segments/") == [anothers]
    assert not any("ImportAborted" in log.kinds(0) for log in deployment.logs.values())
    control_plane.orphans(deployment.context).tick(deployment.later(days=300))
    assert deployment.objects.keys(bucket, "segments/") == []


def test_snapshot_notification_names_its_segment(deployment: Deployment) -> None:
    job = published(deployment)
    body = body_of(job, "ready", deployment.context.jobs.receipt(job.job_id))
    assert (body["kind"], body["source"], body["version"]) == ("snapshot", "segment buyers", 1)
    subject, lines = wording(body)
    assert subject == "[Muster] acme/buyers-snapshot is ready, version 1"
    assert "source    segment buyers" in lines
    refused = register(deployment, request(segment="nobody"))
    subject, _ = wording(body_of(refused, "user-error", None))
    assert subject == "[Muster] acme/buyers-snapshot: the snapshot was refused (UNKNOWN_SEGMENT)"
    record = as_record(job.shown)
    assert (record["kind"], record["source"]["segment"]) == ("snapshot", "buyers")


def test_snapshot_is_followed_like_an_import(deployment: Deployment) -> None:
    job = awaiting(deployment)

    def seen() -> str:
        found = deployment.context.job_progress.view(job.job_id, now_ms())
        assert found is not None
        return "\n".join(job_lines(as_record(view_record(found, [], {}))))

    assert "acme/buyers-snapshot, replace, segment buyers" in seen()
    assert [line.split()[0] for line in seen().splitlines()[2:]] == [
        "verify",
        "import",
        "materialise",
        "build",
        "publish",
    ]
    answered(deployment)
    deployment.step(job, "build_version")
    deployment.run(job)
    assert "partitions  2 of 2 materialised" in seen()


def test_lost_snapshot_receipt_is_restored_unchanged(deployment: Deployment) -> None:
    job = published(deployment)
    receipt = deployment.context.jobs.receipt(job.job_id)
    assert receipt is not None
    deployment.context.jobs.put_receipt(job.job_id, {**receipt, "members": 1})
    info = deployment.context.versions.current(audience_ref(job))
    assert info is not None
    administration.job_repair(deployment.context).repair(job, info)
    assert deployment.context.jobs.receipt(job.job_id) == receipt
