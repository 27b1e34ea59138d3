"""Bad, odd and repeated input: events, keys, objects, and lost answers."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestration.kinds.events import ImportRequest, read_event
from orchestration.local.engine.s3_events import ObjectCreated
from orchestration.operations.inspection import inspect_object
from orchestration.operations.schedules import schedule_import
from orchestration.platform.settings import Secret
from schemas.errors import UserError
from schemas.ids import JobId
from schemas.layout import split_s3_uri
from tests.fakes.deployment import EXECUTION, HANDLER_OF, Deployment, make_deployment

ID = "01m87b5fjxy5p23eqzcwh67tr0"
GOOD_IMPORT = {"job_id": ID, "tenant": "acme", "audience": "vip", "bucket": "inbox", "key": "acme/vip/a.csv"}
GOOD_OBJECT = {"key": "acme/vip/a.csv", "version-id": "v1", "sequencer": "0A"}


def s3_event(bucket: object = "inbox", **changes: object) -> dict[str, Any]:
    return {"detail": {"bucket": {"name": bucket}, "object": {**GOOD_OBJECT, **changes}}}


RUBBISH: dict[str, object] = {
    "null": None,
    "a list": [],
    "a number": 7,
    "a text": "import",
    "nothing": {},
    "no detail": {"detail": None},
    "an empty detail": {"detail": {}},
    "no object": {"detail": {"bucket": {"name": "inbox"}}},
    "no bucket": {"detail": {"object": {"key": "acme/vip/a.csv"}}},
    "a bucket that is a text": {"detail": {"bucket": "inbox", "object": {"key": "acme/vip/a.csv"}}},
    "an object that is a list": {"detail": {"bucket": {"name": "inbox"}, "object": [1]}},
    "no key": s3_event(key=None),
    "an empty key": s3_event(key=""),
    "a key that is a number": s3_event(key=7),
    "a key that is a list": s3_event(key=["acme/vip/a.csv"]),
    "a key with a NUL": s3_event(key="acme/vip/a\0.csv"),
    "half a surrogate pair": s3_event(key="acme/vip/\ud83c.csv"),
    "a key of 1,025 bytes": s3_event(key="acme/vip/" + "a" * 1016),
    "a version that is a number": s3_event(**{"version-id": 7}),
    "a sequencer without end": s3_event(sequencer="0" * 300),
    "a bucket that is a number": s3_event(bucket=7),
    "an import that is null": {"import": None},
    "an empty import": {"import": {}},
    "an import with another field": {"import": {**GOOD_IMPORT, "colour": "blue"}},
    "an import with a bad id": {"import": {**GOOD_IMPORT, "job_id": "../x"}},
    "an import with overrides that are a text": {"import": {**GOOD_IMPORT, "overrides": "mode=append"}},
    "an import that says again with a text": {"import": {**GOOD_IMPORT, "again": "yes"}},
    "an import of a key of 1,025 bytes": {"import": {**GOOD_IMPORT, "key": "acme/vip/" + "a" * 1016}},
    "an import with a sequencer without end": {"import": {**GOOD_IMPORT, "sequencer": "0" * 300}},
    "an import that retries nothing": {"import": {**GOOD_IMPORT, "retry_of": "?"}},
    "a resume of null": {"resume": None},
    "a resume of a bad id": {"resume": "../.."},
}


@pytest.mark.parametrize("event", RUBBISH.values(), ids=RUBBISH.keys())
def test_malformed_request_is_a_user_error_without_a_job(deployment: Deployment, event: object) -> None:
    with pytest.raises(Exception, match="BAD_EVENT") as caught:
        deployment.call("register_import", input=event, execution=EXECUTION + "x")
    assert type(caught.value).__name__ == "UserError"
    assert deployment.context.jobs.search() == []
    failure = {"Error": "UserError", "Cause": str(caught.value)}
    deployment.call("notify", outcome="not-registered", input=event, failure=failure, execution=EXECUTION + "x")


def test_resuming_a_missing_job_is_a_user_error(deployment: Deployment) -> None:
    with pytest.raises(Exception, match="UNKNOWN_JOB"):
        deployment.call("register_import", input={"resume": ID}, execution=EXECUTION + "x")


ODD_KEYS = {
    "escapes": "acme/vip/a%2Fb%20c%00.csv",
    "spaces": "acme/vip/ two  words .csv",
    "plus": "acme/vip/a+b.csv",
    "unicode": "acme/vip/\u9867\u5ba2-\U0001f389-e\u0301.csv",
    "right to left": "acme/vip/\u202egnp.csv",
    "quotes": "acme/vip/a'b\"c\\d;--.csv",
    "newline": "acme/vip/a\nb.csv",
    "1,024 bytes": "acme/vip/" + "\u00fc" * 507 + "a",
    "folders": "acme/vip/2026/11/24/a.csv",
}


@pytest.mark.parametrize("key", ODD_KEYS.values(), ids=ODD_KEYS.keys())
def test_unusual_object_key_is_imported_unchanged(deployment: Deployment, key: str) -> None:
    assert len(key.encode()) <= 1024
    job = deployment.run(deployment.uploaded(key))
    assert (job.state, job.tenant, job.audience, job.source["key"]) == ("READY", "acme", "vip", key)


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("a.csv", "BAD_NAME"),
        ("acme", "BAD_NAME"),
        ("/acme/vip/a.csv", "BAD_NAME"),
        ("acme//a.csv", "BAD_NAME"),
        ("ACME/vip/a.csv", "BAD_NAME"),
        ("acme/%76ip/a.csv", "BAD_NAME"),
        ("../vip/a.csv", "BAD_NAME"),
        ("x" * 300 + "/vip/a.csv", "BAD_NAME"),
        ("nobody/vip/a.csv", "UNKNOWN_TENANT"),
        ("acme/vip/../../other/vip/a.csv", "BAD_SOURCE"),
    ],
)
def test_object_outside_of_tenant_and_audience_fails_with_the_reason(
    deployment: Deployment, key: str, code: str
) -> None:
    job = deployment.uploaded(key)
    assert job.error is not None
    assert (job.state, job.failed_in, job.error.kind, job.error.code) == ("FAILED", "REGISTERED", "user", code)


def test_an_event_of_another_bucket_is_a_failed_job(deployment: Deployment) -> None:
    job = deployment.uploaded("acme/vip/a.csv", bucket="lake")
    assert job.error is not None
    assert (job.state, job.error.code) == ("FAILED", "NOT_IN_INBOX")


IMPORT = "01m8f7z9qm1wk5cdjzjw3bjawg"


@pytest.mark.parametrize(
    "uri",
    [
        f"s3://lake/audiences/other/{IMPORT}/data/{IMPORT}-000001-p00000-ab.parquet",
        f"s3://lake/rejects/other/{IMPORT}.parquet",
        "s3://lake/exports/acme/vip-1/0.csv",
        f"s3://staging/imports/{IMPORT}/000001/00000/000000000000-000000000000-ab.arrow",
        "s3://staging/download/0.csv",
        f"s3://staging/uploads/other/vip/{IMPORT}/a.csv",
        f"s3://staging/uploads/acme/../other/vip/{IMPORT}/a.csv",
        "s3://staging/uploads/acme2/vip/a.csv",
    ],
)
def test_internal_objects_are_refused_as_import_sources(deployment: Deployment, uri: str) -> None:
    bucket, key = split_s3_uri(uri)
    job = deployment.register(deployment.request(bucket=bucket, key=key))
    assert job.error is not None
    assert (job.state, job.error.code, job.audience_id) == ("FAILED", "BAD_SOURCE", None)
    for ask in (
        lambda: deployment.context.submission.submit_object(uri, tenant="acme", audience="vip", overrides={}),
        lambda: inspect_object(
            uri,
            kind="audience",
            format_=None,
            limits=deployment.context.parse_limits,
            store=deployment.context.objects,
            settings=deployment.context.settings,
        ),
        lambda: schedule_import(
            "nightly",
            uri,
            expression="rate(1 day)",
            timezone="UTC",
            tenant="acme",
            audience="vip",
            overrides={},
            again=False,
            now_ms=1,
            audiences=deployment.context.audiences,
            schedules=deployment.context.schedules,
            settings=deployment.context.settings,
        ),
    ):
        with pytest.raises(UserError, match="BAD_SOURCE"):
            ask()


def test_tenant_and_audience_follow_the_inbox_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = Secret(f"sqlite:///{tmp_path / 'catalog.db'}")
    deployment = make_deployment(url, tmp_path, monkeypatch, inbox_prefix="in/coming/")
    job = deployment.run(deployment.uploaded("in/coming/acme/vip/a.csv"))
    assert (job.state, job.tenant, job.audience) == ("READY", "acme", "vip")
    assert job.source["key"] == "in/coming/acme/vip/a.csv"
    for key in ("acme/vip/a.csv", "in/coming", "In/coming/acme/vip/a.csv"):
        outside = deployment.uploaded(key)
        assert outside.error is not None
        assert (outside.state, outside.error.code) == ("FAILED", "NOT_IN_INBOX")
        assert "s3://inbox/in/coming/" in outside.error.message
    deployment.context.database.close()


def test_an_unknown_version_is_a_failed_job(deployment: Deployment) -> None:
    job = deployment.uploaded("acme/vip/a.csv", version="no-such-version")
    assert job.error is not None
    assert (job.state, job.error.code) == ("FAILED", "SOURCE_GONE")


def test_repeated_event_makes_no_second_job(deployment: Deployment) -> None:
    first = deployment.uploaded("acme/vip/a.csv")
    assert deployment.uploaded("acme/vip/a.csv").job_id == first.job_id
    assert deployment.run(first).state == "READY"
    assert deployment.uploaded("acme/vip/a.csv").job_id == first.job_id
    assert (len(deployment.context.jobs.search()), deployment.versions(first)) == (1, [1])


def test_newer_object_wins_despite_event_order(deployment: Deployment) -> None:
    deployment.objects.put("inbox", "acme/vip/older.csv", b"user_id\nold\n")
    deployment.objects.now += timedelta(seconds=1)
    newer = deployment.run(deployment.uploaded("acme/vip/newer.csv"))
    older = deployment.run(deployment.uploaded("acme/vip/older.csv"))
    assert (newer.state, older.state) == ("READY", "SUPERSEDED")
    assert older.outcome == {"superseded_by": newer.job_id, "version": 1}


@pytest.mark.parametrize("state", ["VERIFYING", "IMPORTING", "BUILDING", "PUBLISHING"])
def test_step_repeated_after_a_lost_answer_finds_its_work(deployment: Deployment, state: str) -> None:
    job = deployment.at(state)
    first = deployment.step(job, HANDLER_OF[state])
    done = deployment.context.jobs.get(job.job_id)
    sent = deployment.sent()
    again = deployment.step(job, HANDLER_OF[state])
    assert again == first
    assert deployment.context.jobs.get(job.job_id) == done
    assert deployment.sent() == sent
    assert deployment.scans == 1
    assert deployment.run(job).state == "READY"
    assert deployment.versions(job) == [1]


def test_registration_repeated_after_a_lost_answer_finds_its_job(deployment: Deployment) -> None:
    request = deployment.request()
    event = {"input": {"import": request.as_record()}, "execution": EXECUTION + request.job_id}
    assert deployment.call("register_import", **event) == deployment.call("register_import", **event)
    assert [j.job_id for j in deployment.context.jobs.search()] == [JobId(request.job_id)]


def test_failure_repeated_after_a_lost_answer_is_unchanged(deployment: Deployment) -> None:
    job = deployment.at("IMPORTING")
    failure = {"Error": "States.HeartbeatTimeout", "Cause": ""}
    first = deployment.step(job, "mark_failed", failure=failure)
    assert deployment.step(job, "mark_failed", failure={"Error": "Other", "Cause": ""}) == first
    ended = deployment.context.jobs.get(job.job_id)
    assert ended.error is not None
    assert (ended.state, ended.error.code, ended.failed_in) == ("FAILED", "States.HeartbeatTimeout", "IMPORTING")


def test_bridge_and_registration_share_the_event_format() -> None:
    made = ObjectCreated(bucket="inbox", key="acme/vip/a b.csv", size=1, etag="e", version_id="v", sequencer="0A")
    assert read_event({"detail": made.detail()}, JobId(ID)) == ImportRequest(
        job_id=JobId(ID),
        tenant="acme",
        audience="vip",
        bucket="inbox",
        key="acme/vip/a b.csv",
        version_id="v",
        sequencer="0A",
        by_event=True,
    )


@pytest.mark.parametrize("kind", ["events", "profiles"])
def test_event_and_profile_files_never_become_members(deployment: Deployment, kind: str) -> None:
    columns = [{"name": "event"}, {"name": "occurred_at", "type": "timestamp"}] if kind == "events" else []
    job = deployment.register(overrides={"kind": kind, "mode": "append", "columns": columns})
    assert job.error is not None
    assert (job.state, job.error.code) == ("FAILED", "BAD_SPEC")
    assert job.error.message == f"{kind} cannot be imported as an audience"
