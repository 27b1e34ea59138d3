"""Imports of events and profiles: the life of a job whose rows make no version of an audience."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from connectors.lake.activity_receipts import StoredRows
from connectors.storage.pinned import SourceObject
from connectors.verification.evidence import Evidence
from orchestration.catalog.records import Job
from orchestration.composition import control_plane
from orchestration.control.job_events import job_event
from orchestration.control.liveness import WorkerLiveness
from orchestration.control.task_answers import TaskAnswers
from orchestration.notifications.mail import wording
from orchestration.operations import audiences as operations
from orchestration.operations.activity_dry_run import ActivityDryRun
from orchestration.platform.clock import fresh_id
from schemas.errors import RetriableError, UserError
from schemas.ids import Partition
from schemas.import_spec import ImportSpec
from schemas.import_targets import RESERVED
from schemas.messages import EventChunk, ProfileChunk
from schemas.records import from_record
from schemas.topics import EVENTS, PROFILES
from tests.fakes.archive import InMemoryArchive
from tests.fakes.deployment import ACME, PARTITIONS, Deployment, away
from tests.fakes.sweeping import sweep
from tests.unit.orchestration.control.test_lost_markers import Alive

ORDERS = (
    "user_id,event,occurred_at,event_id,total\n"
    "alice,order,2026-01-01T10:00:00Z,o-1,12.5\n"
    "bob,order,2026-01-01T11:00:00Z,o-2,\n"
    "bob,,2026-01-01T11:00:00Z,o-3,1\n"
    "alice,order,2026-01-01T10:00:00Z,o-1,12.5\n"
)
TOTAL = {"name": "total", "type": "double", "source": None}
EVENT_ID = {"name": "event_id", "type": "string", "source": None}
TOLERANT = {"columns": [TOTAL, EVENT_ID], "max_reject_share": 0.5}
PLANS = "user_id,plan\nalice,gold\nbob,\nalice,silver\n"


@pytest.fixture(autouse=True)
def _read_files(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    deployment.parse_files(monkeypatch)


def of_events(deployment: Deployment, content: str = ORDERS, **overrides: Any) -> Job:
    deployment.objects.put("inbox", "acme/_events/orders.csv", content.encode())
    request = deployment.request("_events", key="acme/_events/orders.csv", overrides={**TOLERANT, **overrides})
    return deployment.register(request)


def test_event_import_has_and_creates_no_audience(deployment: Deployment) -> None:
    job = of_events(deployment)
    assert (job.kind, job.audience, job.audience_id, job.mode) == ("events", "_events", None, "append")
    assert [column.name for column in job.spec.columns] == ["event", "occurred_at", "event_id", "total"]
    assert deployment.context.audiences.all() == []


@pytest.mark.parametrize("kind", RESERVED)
def test_inbox_upload_of_events_is_recognised_by_the_reserved_name(deployment: Deployment, kind: str) -> None:
    job = deployment.uploaded(f"acme/_{kind}/2026/a.csv")
    assert (job.kind, job.error) == (kind, None)


def test_other_invalid_audience_name_is_refused(deployment: Deployment) -> None:
    job = deployment.uploaded("acme/_orders/a.csv")
    assert job.error is not None
    assert (job.state, job.error.code) == ("FAILED", "BAD_NAME")


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"mode": "replace"}, "events are imported with mode append, not replace"),
        ({"kind": "profiles"}, "profiles cannot be imported as events"),
        ({"columns": [{"name": "total", "type": "long", "source": None}]}, "the column total is long"),
    ],
)
def test_invalid_event_spec_fails_the_job_with_the_reason(
    deployment: Deployment, overrides: dict[str, Any], reason: str
) -> None:
    job = of_events(deployment, **overrides)
    assert job.error is not None
    assert (job.state, job.kind, job.error.code) == ("FAILED", "events", "BAD_SPEC")
    assert reason in job.error.message


def test_an_unknown_tenant_is_a_failed_job(deployment: Deployment) -> None:
    job = deployment.uploaded("nobody/_events/a.csv")
    assert job.error is not None
    assert job.error.code == "UNKNOWN_TENANT"


def test_repeated_object_is_a_duplicate(deployment: Deployment) -> None:
    job = of_events(deployment)
    assert of_events(deployment).job_id == job.job_id


@pytest.mark.parametrize("kind", RESERVED)
def test_repeated_event_file_is_a_duplicate_but_a_profile_file_is_imported_again(
    deployment: Deployment, kind: str
) -> None:
    def uploaded() -> Job:
        key = f"uploads/acme/_{kind}/{fresh_id()}/a.csv"
        deployment.objects.put("staging", key, (ORDERS if kind == "events" else PLANS).encode())
        return deployment.register(deployment.request(f"_{kind}", bucket="staging", key=key))

    first = uploaded()
    assert uploaded().job_id == first.job_id
    for state in ("IMPORTING", "AWAITING", "PUBLISHING", "READY"):
        deployment.context.jobs.move(first.job_id, state, now_ms=1)
    assert (uploaded().job_id == first.job_id) == (kind == "events")


def test_event_rows_obey_the_checks_of_any_file(deployment: Deployment) -> None:
    job = deployment.run(of_events(deployment), until="IMPORTING")
    assert job.evidence is not None
    found = from_record(Evidence, job.evidence)
    assert (found.rows, found.accepted, found.rejected_by_code) == (4, 3, {"bad_event": 1})


def test_time_without_an_offset_fails_the_import_at_line_and_column(deployment: Deployment) -> None:
    job = of_events(deployment, "user_id,event,occurred_at,event_id,total\na,e,2026-01-01T10:00:00,,\n")
    with pytest.raises(Exception, match=r"NO_TIMEZONE.*line 2, column occurred_at: no_timezone") as raised:
        deployment.step(job, "verify_file")
    assert type(raised.value).__name__ == "UserError"


def dry(deployment: Deployment, path: Path, content: str, **overrides: Any) -> ActivityDryRun:
    path.write_bytes(content.encode())
    return deployment.context.activity_dry_runs.run(
        path, tenant=ACME, kind="events", overrides=overrides, on_progress=lambda _: None
    )


def test_dry_run_reports_the_plan_and_sends_nothing(deployment: Deployment, tmp_path: Path) -> None:
    content = "user_id,event,occurred_at,total\na,e,2026-01-01T10:00:00,5\na,e,2026-01-01T10:00:00Z,6\n"
    zoned = dry(deployment, tmp_path / "a.csv", content, timezone="Asia/Tokyo").as_record()
    assert (zoned["would_send"], zoned["problems"], sum(zoned["partitions"])) == (2, [], 2)
    assert [column["name"] for column in zoned["columns"]] == ["event", "occurred_at", "total"]
    refused = dry(deployment, tmp_path / "a.csv", content).as_record()
    assert (refused["would_send"], refused["accepted"], refused["problems"][0]["code"]) == (0, 1, "NO_TIMEZONE")
    assert [reject["line"] for reject in refused["rejects"]] == [2]
    assert EVENTS not in deployment.logs


def test_dry_run_of_an_unreadable_file_reports_the_reason(deployment: Deployment, tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b""))
    with pytest.raises(UserError, match="EMPTY_FILE"):
        deployment.context.activity_dry_runs.run(
            tmp_path / "a.csv.gz",
            tenant=ACME,
            kind="events",
            overrides={"other_columns": False},
            on_progress=lambda _: None,
        )


def test_spec_zone_resolves_times_without_an_offset(deployment: Deployment) -> None:
    content = "user_id,event,occurred_at,event_id,total\na,e,2026-01-01T10:00:00,,\n"
    job = deployment.run(of_events(deployment, content, timezone="Asia/Tokyo"), until="AWAITING")
    assert sent(deployment, EVENTS)[0].count == 1
    assert job.state == "AWAITING"


def sent(deployment: Deployment, topic: str) -> list[EventChunk | ProfileChunk]:
    found = [message for p in range(PARTITIONS) for message in deployment.logs[topic].decoded(p)]
    assert all(isinstance(message, EventChunk | ProfileChunk) for message in found)
    return [message for message in found if isinstance(message, EventChunk | ProfileChunk)]


def test_events_of_the_pinned_object_go_to_their_topic(deployment: Deployment) -> None:
    job = deployment.run(of_events(deployment), until="AWAITING")
    chunks = sent(deployment, EVENTS)
    assert sum(chunk.count for chunk in chunks) == 3
    version = deployment.objects.pin("inbox", "acme/_events/orders.csv").version_id
    assert {chunk.source for chunk in chunks} == {f"s3://inbox/acme/_events/orders.csv?versionId={version}"}
    assert {(chunk.tenant, chunk.import_id, chunk.attempt) for chunk in chunks} == {(ACME, job.job_id, 1)}
    assert sorted(deployment.logs) == [EVENTS]


def test_later_attempt_sends_identical_rows(deployment: Deployment) -> None:
    job = deployment.run(of_events(deployment), until="AWAITING")
    deployment.step(job, "retry_import", failure={"Error": "MaterialisationFailed", "Cause": ""})
    deployment.run(job, until="AWAITING")
    first, second = ([c for c in sent(deployment, EVENTS) if c.attempt == attempt] for attempt in (1, 2))
    assert [(c.source, c.rows) for c in first] == [(c.source, c.rows) for c in second]


def test_unversioned_object_is_identified_by_content_and_time(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin = deployment.objects.pin

    def unversioned(*place: Any) -> SourceObject:
        return replace(pin(*place), version_id=None)

    monkeypatch.setattr(deployment.objects, "pin", unversioned)
    deployment.run(of_events(deployment), until="AWAITING")
    etag = pin("inbox", "acme/_events/orders.csv").etag
    expected = f"s3://inbox/acme/_events/orders.csv?etag={etag}&lastModified=2026-01-01T00:00:00+00:00"
    assert {chunk.source for chunk in sent(deployment, EVENTS)} == {expected}


def test_profiles_go_to_their_topic_in_file_order(deployment: Deployment) -> None:
    deployment.objects.put("inbox", "acme/_profiles/plans.csv", PLANS.encode())
    plan = {"columns": [{"name": "plan", "type": "string", "source": None}]}
    request = deployment.request("_profiles", key="acme/_profiles/plans.csv", overrides=plan)
    deployment.run(deployment.register(request), until="AWAITING")
    assert sum(chunk.count for chunk in sent(deployment, PROFILES)) == 3


def plans(deployment: Deployment, number: int, *columns: dict[str, Any], **overrides: Any) -> Job:
    """Import a file of profiles with name, score and plan, which all look like text; run it to its end."""
    content = f"user_id,name,score,plan\nalice,Al,{number},gold\n"
    key = f"acme/_profiles/{number}.csv"
    deployment.objects.put("inbox", key, content.encode())
    given = {"columns": list(columns), **overrides} if columns else overrides
    if given:
        job = deployment.register(deployment.request("_profiles", key=key, overrides=given))
    else:
        job = deployment.uploaded(key)
    job = deployment.run(job, until="AWAITING")
    if job.state == "AWAITING":
        archive(deployment).take(PROFILES)
        job = settled(deployment, job)
    return job


SCORE = {"name": "score", "type": "double", "source": None}


def types(job: Job) -> dict[str, str]:
    return {column.name: column.type for column in job.spec.columns}


def test_inbox_file_reuses_the_types_of_an_earlier_import(deployment: Deployment) -> None:
    assert types(plans(deployment, 1)) == {"name": "string", "score": "string", "plan": "string"}
    assert plans(deployment, 2, SCORE).state == "READY"
    inbox = plans(deployment, 3)
    assert (inbox.state, types(inbox)) == ("READY", {"name": "string", "score": "double", "plan": "string"})
    known = deployment.context.audiences.activity_spec(ACME, "profiles")
    assert known is not None
    assert [(c.name, c.type) for c in known.known_columns] == [("score", "double")]
    assert plans(deployment, 4).spec.known_columns == known.known_columns  # columns of files are not remembered


def test_known_type_changes_only_on_request(deployment: Deployment) -> None:
    plans(deployment, 1, SCORE)
    text = {**SCORE, "type": "string"}
    refused = plans(deployment, 2, text)
    assert refused.error is not None
    assert refused.error.code == "COLUMNS_WOULD_CHANGE"
    assert "score would change from double to string" in refused.error.message
    assert plans(deployment, 2, text, retype_columns=["score"]).state == "READY"
    assert types(plans(deployment, 3))["score"] == "string"


def test_failed_imports_and_their_retries_save_no_types(deployment: Deployment) -> None:
    job = plans(deployment, 1, SCORE, mode="replace")
    assert job.state == "FAILED"
    deployment.objects.put("inbox", "acme/_profiles/2.csv", b"user_id,name,score,plan\na,Al,x,gold\n")
    request = deployment.request("_profiles", key="acme/_profiles/2.csv", overrides={"other_columns": True})
    job = deployment.run(deployment.register(request), until="IMPORTING")
    deployment.context.import_jobs.cancel(job.job_id)
    again = deployment.retry(job)
    assert (again.spec, again.spec.known_columns) == (job.spec, ())
    assert deployment.context.audiences.activity_spec(ACME, "profiles") is None


def test_settings_of_a_kind_apply_to_all_its_files(deployment: Deployment) -> None:
    context = deployment.context

    def configure(*columns: dict[str, Any], **changes: Any) -> ImportSpec:
        given = {"columns": list(columns), **changes} if columns else changes
        return operations.configure_activity(ACME, "events", given, audiences=context.audiences, specs=context.specs)

    configure(TOTAL, {"name": "occurred_at", "type": "string", "source": "ts"}, timezone="Asia/Tokyo")
    configure({"name": "rush", "type": "boolean", "source": None})
    with pytest.raises(UserError, match=r"total would change from double to string.*configure _events"):
        configure({**TOTAL, "type": "string"})
    key = "acme/_events/a.csv"
    deployment.objects.put("inbox", key, b"user_id,event,ts,total\nalice,order,2026-01-01T10:00:00,5\n")
    job = deployment.run(deployment.uploaded(key), until="AWAITING")
    assert (job.error, types(job)) == (None, {"event": "string", "occurred_at": "timestamp", "total": "double"})
    assert [c.name for c in configure(drop_columns=["total"]).known_columns] == ["rush"]
    assert operations.activity_settings(context.audiences, ACME, "profiles").known_columns == ()


def test_retry_of_a_refused_event_import_repeats_its_request(deployment: Deployment) -> None:
    job = of_events(deployment, mode="replace")
    again = deployment.retry(job, force=True)
    assert again.error is not None
    assert (again.kind, again.error.code) == ("events", "BAD_SPEC")


def test_retry_of_a_cancelled_job_keeps_spec_and_verification(deployment: Deployment) -> None:
    job = deployment.run(of_events(deployment), until="IMPORTING")
    deployment.context.import_jobs.cancel(job.job_id)
    again = deployment.retry(job)
    assert (again.spec, again.state, deployment.scans) == (job.spec, "IMPORTING", 1)


def test_an_audience_cannot_have_a_reserved_name() -> None:
    from schemas.ids import audience_name  # noqa: PLC0415

    for name in RESERVED.values():
        with pytest.raises(UserError, match="BAD_NAME"):
            audience_name(name)


def test_ended_event_import_sends_no_markers(deployment: Deployment) -> None:
    job = deployment.run(of_events(deployment), until="AWAITING")
    deployment.context.import_jobs.cancel(job.job_id)
    before = deployment.sent()
    sweep(deployment.context, deployment.later(minutes=1))
    assert deployment.context.jobs.to_sweep(deployment.later(minutes=2)) == []
    assert deployment.sent() == before


def answers(deployment: Deployment, activity: WorkerLiveness | None = None) -> TaskAnswers:
    return control_plane.answers(deployment.context, Dead(), activity or Alive())


class Dead(WorkerLiveness):
    """Workers that a job must not ask about."""

    def __init__(self) -> None:
        pass

    def fault(self, now_ms: int) -> str | None:  # noqa: ARG002
        return "no member is there"


def awaiting(deployment: Deployment, content: str = ORDERS, **overrides: Any) -> Job:
    job = deployment.run(of_events(deployment, content, **overrides), until="AWAITING")
    deployment.begin_await(job, "token-1")
    return deployment.context.jobs.get(job.job_id)


def archive(deployment: Deployment) -> InMemoryArchive:
    found = deployment.context.archive
    assert isinstance(found, InMemoryArchive)
    return found


def test_job_waits_for_the_archive_in_every_partition(deployment: Deployment) -> None:
    job = awaiting(deployment)
    assert [len(messages) for messages in deployment.logs[EVENTS].messages] == [1, 1]
    relay = answers(deployment)
    relay.answer(job, deployment.later(minutes=1))
    archive(deployment).take(EVENTS, 0)
    relay.answer(job, deployment.later(minutes=2))
    assert deployment.workflow.said() == ["heartbeat", "heartbeat"]
    archive(deployment).take(EVENTS, 1)
    relay.answer(job, deployment.later(minutes=3))
    kind, said = deployment.workflow.answers[-1]
    assert (kind, said["taskToken"], json.loads(said["output"])["state"]) == ("success", "token-1", "PUBLISHING")


def test_archive_is_queried_rarely_for_all_waiting_jobs(deployment: Deployment) -> None:
    job = awaiting(deployment)
    relay = answers(deployment)
    for seconds in (60, 60.5, 61.5):
        relay.answer(job, deployment.later(seconds=seconds))
    assert archive(deployment).asked == 1
    relay.answer(job, deployment.later(seconds=63))
    assert archive(deployment).asked == 2


def test_unresponsive_lake_does_not_block_other_answers(deployment: Deployment) -> None:
    job = awaiting(deployment)
    archive(deployment).take(EVENTS)
    archive(deployment).away = True
    relay = answers(deployment)
    relay.answer(job, deployment.later(minutes=1))
    assert deployment.workflow.said() == ["heartbeat"]
    archive(deployment).away = False
    relay.answer(job, deployment.later(minutes=2))
    assert deployment.workflow.said() == ["heartbeat", "success"]


def test_heartbeat_stops_without_archivers(deployment: Deployment) -> None:
    job = awaiting(deployment)
    answers(deployment, Dead()).answer(job, deployment.later(minutes=1))
    assert deployment.workflow.said() == []


def test_stall_of_workers_on_demand_fails_the_wait(deployment: Deployment) -> None:
    """Without a heartbeat it would begin again, for a control plane that is being started."""
    stalled, job = Dead(), awaiting(deployment)
    stalled.on_demand = True
    answers(deployment, stalled).answer(job, deployment.later(minutes=1))
    assert deployment.workflow.said() == ["failure"]


@pytest.mark.parametrize("fixed", [False, True])
def test_job_without_a_heartbeat_waits_again_while_workers_are_ensured(deployment: Deployment, *, fixed: bool) -> None:
    job, renewed = awaiting(deployment), list[int]()

    def renew(now_ms: int) -> None:
        renewed.append(now_ms)
        raise RetriableError("ENGINE_UNAVAILABLE", "no capacity")

    vars(deployment.context)["scaler"] = SimpleNamespace(fixed=fixed, renew=renew)
    if fixed:
        with pytest.raises(Exception, match="NO_HEARTBEAT"):
            deployment.step(job, "ensure_workers")
    else:
        assert deployment.step(job, "ensure_workers")["state"] == "AWAITING"
    assert len(renewed) == int(not fixed)


def test_empty_file_needs_no_waiting(deployment: Deployment) -> None:
    header = "user_id,event,occurred_at,event_id,total\n"
    job = awaiting(deployment, header, allow_empty=True)
    answers(deployment).answer(job, deployment.later(minutes=1))
    assert deployment.workflow.said() == ["success"]
    assert settled(deployment, job).state == "READY"


def settled(deployment: Deployment, job: Job) -> Job:
    deployment.step(job, "publish_version")
    return deployment.context.jobs.get(job.job_id)


def test_step_ahead_of_the_archive_is_retried_without_changes(deployment: Deployment) -> None:
    job = awaiting(deployment)
    with pytest.raises(Exception, match="ARCHIVE_BEHIND") as raised:
        deployment.step(job, "publish_version")
    assert type(raised.value).__name__ == "RetriableError"
    assert deployment.context.jobs.get(job.job_id).state == "AWAITING"


def test_receipt_accounts_for_every_row(deployment: Deployment) -> None:
    job = awaiting(deployment)
    archive(deployment).take(EVENTS)
    job = settled(deployment, job)
    assert (job.state, job.error) == ("READY", None)
    assert deployment.states(job) == ["REGISTERED", "VERIFYING", "IMPORTING", "AWAITING", "PUBLISHING", "READY"]
    receipt = deployment.context.jobs.receipt(job.job_id)
    assert receipt is not None
    assert {name: receipt[name] for name in ("kind", "audience", "rows", "accepted", "rejected_by_code")} == {
        "kind": "events",
        "audience": "_events",
        "rows": 4,
        "accepted": 3,
        "rejected_by_code": {"bad_event": 1},
    }
    assert (receipt["stored"], receipt["duplicates"]) == (2, 1)
    assert sum(sent["records"] for sent in receipt["partitions"]) == 3
    assert job.outcome == {"stored": 2, "duplicates": 1, "attempt": 1}


def test_every_change_of_a_profile_is_stored(deployment: Deployment) -> None:
    deployment.objects.put("inbox", "acme/_profiles/plans.csv", PLANS.encode())
    plan = {"columns": [{"name": "plan", "type": "string", "source": None}]}
    request = deployment.request("_profiles", key="acme/_profiles/plans.csv", overrides=plan)
    job = deployment.run(deployment.register(request), until="AWAITING")
    archive(deployment).take(PROFILES)
    assert settled(deployment, job).outcome == {"stored": 3, "duplicates": 0, "attempt": 1}


def test_rows_of_an_earlier_attempt_count_once(deployment: Deployment) -> None:
    job = awaiting(deployment)
    archive(deployment).take(EVENTS)  # archived before the attempt was given up
    deployment.step(job, "retry_import", failure={"Error": "MaterialisationFailed", "Cause": ""})
    job = deployment.run(job, until="AWAITING")
    archive(deployment).take(EVENTS)
    assert settled(deployment, job).outcome == {"stored": 2, "duplicates": 1, "attempt": 2}


def test_manual_retry_counts_rows_sent_by_the_earlier_job(deployment: Deployment) -> None:
    job = awaiting(deployment)
    archive(deployment).take(EVENTS)
    deployment.context.import_jobs.cancel(job.job_id)
    again = deployment.run(deployment.retry(job), until="AWAITING")
    archive(deployment).take(EVENTS)
    assert settled(deployment, again).outcome == {"stored": 2, "duplicates": 1, "attempt": 1}


def test_reimported_file_adds_nothing(deployment: Deployment) -> None:
    job = awaiting(deployment)
    archive(deployment).take(EVENTS)
    settled(deployment, job)
    request = deployment.request("_events", key="acme/_events/orders.csv", overrides=TOLERANT, again=True)
    again = deployment.run(deployment.register(request), until="AWAITING")
    archive(deployment).take(EVENTS)
    assert settled(deployment, again).outcome == {"stored": 0, "duplicates": 3, "attempt": 1}


def test_missing_rows_fail_the_job_with_both_counts(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    job = awaiting(deployment)
    archive(deployment).take(EVENTS)
    lost = {Partition(0): StoredRows(rows=2, ordinals=2, new=2)}
    monkeypatch.setattr(archive(deployment), "stored", lambda *_, **__: lost)
    job = settled(deployment, job)
    assert job.error is not None
    assert (job.state, job.failed_in, job.error.kind) == ("FAILED", "PUBLISHING", "system")
    assert job.error.code == "ROWS_NOT_STORED"
    assert (job.error.detail["accepted"], job.error.detail["stored"]) == (3, 2)


def test_next_try_writes_the_receipt_after_a_crash(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    job = awaiting(deployment)
    archive(deployment).take(EVENTS)
    with monkeypatch.context() as patch:
        patch.setattr(archive(deployment), "stored", away)
        with pytest.raises(Exception, match="S3_UNAVAILABLE"):
            deployment.step(job, "publish_version")
    assert deployment.context.jobs.get(job.job_id).state == "PUBLISHING"
    assert settled(deployment, job).outcome == {"stored": 2, "duplicates": 1, "attempt": 1}


def test_job_cancelled_while_waiting_is_not_settled(deployment: Deployment) -> None:
    job = awaiting(deployment)
    archive(deployment).take(EVENTS)
    deployment.context.import_jobs.cancel(job.job_id)
    assert settled(deployment, job).state == "CANCELLED"


def test_end_of_an_event_import_is_announced_without_a_version(deployment: Deployment) -> None:
    job = awaiting(deployment)
    archive(deployment).take(EVENTS)
    job = settled(deployment, job)
    event = job_event(job, deployment.context.jobs.history(job.job_id)[-1])
    assert (event.audience, event.state, event.version) == ("_events", "READY", None)
    deployment.step(job, "notify", outcome="ready")
    (notice,) = deployment.context.outbox.by_subject(job.job_id)
    assert notice.body["counts"]["stored"] == 2
    subject, _ = wording(notice.body)
    assert subject == "[Muster] acme/_events: the import is complete"


def test_unnamed_columns_become_properties_in_the_jobs_spec(deployment: Deployment) -> None:
    content = "user_id,event,occurred_at,event_id,total,coupon\na,e,2026-01-01T10:00:00Z,,1,X\n"
    job = of_events(deployment, content)
    assert job.spec.other_columns
    job = deployment.run(job, until="AWAITING")
    assert [f"{c.name}:{c.type}" for c in job.spec.columns][2:] == ["event_id:string", "total:double", "coupon:string"]
    archive(deployment).take(EVENTS)
    (row,) = [row for p in range(PARTITIONS) for row in archive(deployment).rows(EVENTS, Partition(p)).to_pylist()]
    assert {name: value["double"] or value["string"] for name, value in row["properties"]} == {
        "total": 1.0,
        "coupon": "X",
    }


def test_file_with_invalid_property_columns_fails_before_sending(deployment: Deployment) -> None:
    job = of_events(deployment, "user_id,event,occurred_at,event_id,total,Order no\na,e,2026-01-01T10:00:00Z,,1,X\n")
    with pytest.raises(Exception, match="'Order no' needs another name") as raised:
        deployment.step(job, "verify_file")
    assert type(raised.value).__name__ == "UserError"
    assert deployment.logs == {}


def test_waiting_job_without_sent_rows_is_a_system_failure(deployment: Deployment) -> None:
    job = deployment.run(of_events(deployment), until="IMPORTING")
    deployment.context.jobs.move(job.job_id, "AWAITING", now_ms=1)
    with pytest.raises(Exception, match="NOT_SENT") as raised:
        deployment.step(job, "publish_version")
    assert type(raised.value).__name__ == "FatalError"


def test_records_lost_by_the_broker_start_another_attempt(deployment: Deployment) -> None:
    job = awaiting(deployment)
    relay = answers(deployment)
    relay.answer(job, deployment.later(seconds=0))
    deployment.logs[EVENTS].messages[1].clear()
    relay.answer(job, deployment.later(seconds=59))
    assert set(deployment.workflow.said()) == {"heartbeat"}
    relay.answer(job, deployment.later(seconds=61))
    kind, said = deployment.workflow.answers[-1]
    assert (kind, said["error"]) == ("failure", "MaterialisationFailed")
    assert "lost the end of muster.events: lost offsets by partition {1: 0}" in said["cause"]
    deployment.step(job, "retry_import", failure={"Error": said["error"], "Cause": said["cause"]})
    assert deployment.run(job, until="AWAITING").attempt == 2


def test_job_keeps_waiting_while_the_log_is_intact(deployment: Deployment) -> None:
    job = awaiting(deployment)
    relay = answers(deployment)
    for minutes in (0, 2, 60):
        relay.answer(job, deployment.later(minutes=minutes))
        relay.forget_all_but([job])
    assert deployment.workflow.said() == ["heartbeat"] * 3
