"""Jobs and changes through the service, and their refusals."""

import hashlib
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from orchestration.access.revisions import require_revision
from orchestration.access.uploading import GIB, MAX_PARTS, MIB, UNFINISHED_BYTES, part_sizes
from orchestration.catalog.operations import LAKE_CHANGES, RECIPIENT_TEST
from orchestration.catalog.places import EVERYWHERE
from orchestration.catalog.records import JobError, Retention
from orchestration.kinds.events import ImportRequest
from orchestration.kinds.query_jobs import new_build
from orchestration.kinds.specs import import_spec
from orchestration.readers.questions import TryImport
from schemas.columns import Column
from schemas.errors import UserError
from schemas.ids import USER_ID_MAX_CHARACTERS
from schemas.import_spec import ImportSpec
from schemas.import_targets import MAX_BUILD_SQL, MAX_NAMED_USERS
from tests.fakes.asgi import Answer, AsgiClient
from tests.fakes.readers import FakeReaders
from tests.fakes.tenants import (
    ACME,
    BETA,
    BUYERS,
    CRM,
    DOWNLOAD,
    DUPLICATE,
    EXPORT,
    FAILED_JOB,
    JOB,
    LARGE_UPLOAD,
    NIGHTLY,
    ONLY_BETA,
    QUIET,
    UPLOAD,
    VIP,
    World,
    id_of,
    manifest_of,
    upload_of,
)
from tests.faults.waiting import until

_KEYS = itertools.count()


def send(
    client: AsgiClient, token: str, method: str, path: str, body: Any = None, *, etag: str | None = None
) -> Answer:
    headers = {"Idempotency-Key": f"write {next(_KEYS)}"} | ({} if etag is None else {"If-Match": etag})
    return client.send(method, f"/v1/tenants/acme/{path}", token=token, body=body, headers=headers)


def seen(client: AsgiClient, token: str, path: str) -> str:
    return client.get(f"/v1/tenants/acme/{path}", token=token).headers["etag"]


def started(world: World) -> dict[str, Any]:
    (event,) = world.workflow.started
    found: dict[str, Any] = json.loads(event)
    return found


# Imports


def test_an_import_has_all_settings_and_pins_its_object(client: AsgiClient, world: World, token: str) -> None:
    body = {
        "audience": VIP,
        "source": f"s3://{CRM}/acme/vip.csv",
        "again": True,
        "settings": {
            "mode": "append",
            "columns": [{"name": "age", "type": "long", "source": "Age"}, {"name": "city"}],
            "max_shrink_percent": None,
            "max_reject_share": 0.5,
            "timezone": None,
        },
    }
    answer = send(client, token, "POST", "imports", body)
    assert answer.status == 202
    request = started(world)["import"]
    assert (request["job_id"], request["tenant"], request["audience"]) == (answer.json["job"], ACME, VIP)
    assert (request["bucket"], request["key"], request["again"]) == (CRM, "acme/vip.csv", True)
    assert request["version_id"] == world.objects.pin(CRM, "acme/vip.csv").version_id
    assert request["overrides"] == {
        "mode": "append",
        "columns": [
            {"name": "age", "type": "long", "source": "Age"},
            {"name": "city", "type": "string", "source": None},
        ],
        "max_shrink_percent": None,
        "max_reject_share": 0.5,
    }


def test_an_import_of_an_upload_reads_its_object(client: AsgiClient, world: World, token: str) -> None:
    assert send(client, token, "POST", "imports", {"audience": VIP, "upload": id_of(ACME, UPLOAD)}).status == 202
    assert started(world)["import"]["key"] == upload_of(ACME, UPLOAD).key
    assert world.services.uploads.get(ACME, id_of(ACME, UPLOAD)).stored


def test_events_and_profiles_belong_to_the_tenant(client: AsgiClient, world: World, token: str) -> None:
    body = {"kind": "events", "source": f"s3://{CRM}/acme/vip.csv", "only_columns": True}
    assert send(client, token, "POST", "imports", body).status == 202
    request = started(world)["import"]
    assert (request["audience"], request["overrides"]) == ("_events", {"other_columns": False})


def test_manifest_determines_how_the_file_is_read(client: AsgiClient, world: World, token: str) -> None:
    manifest = world.objects.get("staging", f"download/acme/{id_of(ACME, DOWNLOAD)}/manifest.json")
    world.objects.put(CRM, "acme/manifest.json", manifest)
    world.objects.put(CRM, "acme/plain.parquet", b"x")
    body = {"audience": VIP, "source": f"s3://{CRM}/acme/plain.parquet", "manifest": f"s3://{CRM}/acme/manifest.json"}
    assert send(client, token, "POST", "imports", body).status == 202
    overrides = started(world)["import"]["overrides"]
    assert overrides == {"id_column": "user_id", "columns": [], "format": "parquet", "null_values": []}
    other = {**body, "source": f"s3://{CRM}/acme/vip.csv"}
    assert send(client, token, "POST", "imports", other).json["code"] == "NOT_IN_MANIFEST"
    world.objects.put(CRM, "acme/manifest.json", b"{}")
    assert send(client, token, "POST", "imports", body).json["code"] == "BAD_MANIFEST"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"source": None}, "BAD_SPEC"),
        ({"upload": "0" * 26}, "BAD_SPEC"),
        ({"audience": None}, "BAD_SPEC"),
        ({"audience": "_events"}, "BAD_SPEC"),
        ({"audience": "../x"}, "BAD_NAME"),
        ({"only_columns": True}, "BAD_SPEC"),
        ({"kind": "events"}, "BAD_SPEC"),
        ({"kind": "events", "audience": None, "settings": {"drop_columns": ["a"]}}, "BAD_SPEC"),
        ({"kind": "events", "audience": None, "settings": {"max_shrink_percent": None}}, "BAD_SPEC"),
        ({"source": "file:///etc/passwd"}, "BAD_URI"),
        ({"source": f"s3://{CRM}"}, "BAD_URI"),
        ({"source": f"s3://{CRM}/acme/gone.csv"}, "SOURCE_GONE"),
        ({"settings": {"columns": [{"name": "a"}, {"name": "A"}]}}, "BAD_SPEC"),
        ({"settings": {"columns": [{"name": "user_id"}]}}, "BAD_COLUMN"),
        ({"settings": {"max_reject_share": 2.0}}, "INVALID_REQUEST"),
        ({"settings": {"mode": "merge"}}, "INVALID_REQUEST"),
        ({"settings": {"kind": "events"}}, "INVALID_REQUEST"),
        ({"settings": None}, "INVALID_REQUEST"),
        ({"tenant": "beta"}, "INVALID_REQUEST"),
    ],
)
def test_invalid_import_starts_nothing(
    client: AsgiClient, world: World, token: str, changes: dict[str, Any], code: str
) -> None:
    body = {"audience": VIP, "source": f"s3://{CRM}/acme/vip.csv", **changes}
    answer = send(client, token, "POST", "imports", body)
    assert answer.json["code"] == code, answer.body
    assert world.workflow.started == []


# Queries

QUERY = "select user_id from audience('quiet')"


def test_query_becomes_an_import_for_those_who_may_read_users(client: AsgiClient, world: World) -> None:
    body = {"audience": VIP, "sql": QUERY, "settings": {"mode": "append"}}
    for caller, status in (("acme-operator", 403), ("acme-analyst", 403), ("acme-engineer", 202)):
        answer = send(client, world.tokens[caller].text.reveal(), "POST", "imports", body)
        assert answer.status == status, caller
    request = started(world)["import"]
    assert (request["job_id"], request["sql"], request["overrides"]) == (answer.json["job"], QUERY, {"mode": "append"})
    made = ImportRequest.from_record(request)
    assert made.as_record() == request
    new = new_build(made, "x", specs=world.services.specs, settings=world.settings)
    assert (new.mode, new.spec.format, new.spec.id_column, new.small) == ("append", "parquet", "user_id", False)
    assert QUERY not in str(world.services.jobs.get(world.services.jobs.register(new, again=True)).shown)


def test_failed_build_runs_its_query_again(client: AsgiClient, world: World, token: str) -> None:
    send(client, token, "POST", "imports", {"audience": VIP, "sql": QUERY, "settings": {"mode": "append"}})
    first, jobs = started(world)["import"], world.services.jobs
    jobs.register(new_build(ImportRequest.from_record(first), "x", specs=world.services.specs, settings=world.settings))
    world.workflow.forget()
    jobs.fail(first["job_id"], JobError.of(UserError("BAD_SQL", "no column")), now_ms=1)
    answer = send(client, token, "POST", f"jobs/{first['job_id']}/retries", {})
    assert answer.status == 202, answer.body
    again = started(world)["import"]
    assert (again["sql"], again["retry_of"], again["overrides"]) == (QUERY, first["job_id"], {"mode": "append"})


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"source": f"s3://{CRM}/acme/vip.csv"}, "BAD_SPEC"),
        ({"again": True}, "BAD_SPEC"),
        ({"kind": "events", "audience": None}, "BAD_SPEC"),
        ({"audience": "_events"}, "BAD_SPEC"),
        ({"audience": "../x"}, "BAD_NAME"),
        ({"settings": {"columns": []}}, "BAD_SPEC"),
        ({"settings": {"id_column": "mail"}}, "BAD_SPEC"),
        ({"settings": {"format": "csv"}}, "BAD_SPEC"),
        ({"sql": ""}, "INVALID_REQUEST"),
        ({"sql": "x" * (MAX_BUILD_SQL + 1)}, "INVALID_REQUEST"),
    ],
)
def test_invalid_build_starts_nothing(
    client: AsgiClient, world: World, token: str, changes: dict[str, Any], code: str
) -> None:
    answer = send(client, token, "POST", "imports", {"audience": VIP, "sql": QUERY, **changes})
    assert answer.json["code"] == code, answer.body
    assert world.workflow.started == []


def test_schedule_of_a_query_is_edited(client: AsgiClient, world: World, token: str) -> None:
    body = {"name": "built", "expression": "rate(1 day)", "import": {"audience": VIP, "sql": QUERY}}
    operator = world.tokens["acme-operator"].text.reveal()
    assert send(client, operator, "POST", "schedules", body).json["code"] == "FORBIDDEN"
    made = send(client, token, "POST", "schedules", body)
    assert (made.status, made.json["request"]["sql"]) == (201, QUERY), made.body
    changes = {"import": {"sql": f"{QUERY} limit 5", "settings": {"mode": "append"}}}
    edited = send(client, token, "PATCH", "schedules/built", changes, etag=made.headers["etag"])
    request = edited.json["request"]
    assert (request["sql"], request["overrides"]) == (f"{QUERY} limit 5", {"mode": "append"}), edited.body
    moved = {"expression": "rate(2 days)"}
    again = send(client, token, "PATCH", "schedules/built", moved, etag=edited.headers["etag"])
    assert again.json["request"] == request


# Single users


def change(client: AsgiClient, token: str, what: str, users: list[str], *, key: str | None = None) -> Answer:
    headers = {"Idempotency-Key": key or f"change {next(_KEYS)}"}
    path = f"/v1/tenants/acme/audiences/{VIP}/{what}"
    return client.send("POST", path, token=token, body={"users": users}, headers=headers)


@pytest.mark.parametrize(("what", "mode"), [("additions", "append"), ("removals", "remove")])
def test_single_users_are_an_import_of_a_row_each(
    client: AsgiClient, world: World, token: str, what: str, mode: str
) -> None:
    ids = ["ann", 'b"\n,é😀', "ann"]
    answer = change(client, token, what, ids)
    assert answer.status == 202, answer.body
    request = started(world)["import"]
    assert (request["job_id"], request["tenant"], request["audience"]) == (answer.json["job"], ACME, VIP)
    assert (request["again"], request["overrides"]["mode"]) == (True, mode)
    rows = world.objects.get("staging", request["key"]).decode().splitlines()
    assert [json.loads(row) for row in rows] == [{"user_id": user} for user in ids]
    kept = ImportSpec(id_column="Mail", allow_missing_columns=("age",), columns=(Column(name="age", type="long"),))
    spec = import_spec(VIP, kept, request["overrides"])
    assert (spec.id_column, spec.columns, spec.format, spec.mode) == ("user_id", (), "jsonl", mode)


def test_audit_trail_has_keyed_hashes_of_single_users(client: AsgiClient, world: World, token: str) -> None:
    for what in ("additions", "removals"):
        assert change(client, token, what, ["ann@example.com", "bob"]).status == 202
    added, removed = sorted(world.services.audit.search(), key=lambda entry: entry.action)
    assert (added.action, removed.action, added.object) == ("audiences add", "audiences remove", f"acme/{VIP}")
    assert added.arguments["users"] == 2
    assert added.arguments == removed.arguments
    marks = {*added.arguments["user_hmacs"]}
    assert len(marks) == 2
    assert not marks & {hashlib.sha256(user.encode()).hexdigest()[:16] for user in ("ann@example.com", "bob")}
    assert "ann@example.com" not in str(world.services.audit.search())


def test_repeated_change_of_single_users_starts_one_job(client: AsgiClient, world: World, token: str) -> None:
    first, second = (change(client, token, "additions", ["ann"], key="once") for _ in range(2))
    assert first.json == second.json
    assert len(world.workflow.started) == 1
    other = change(client, token, "additions", ["bob"], key="once")
    assert (other.status, other.json["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert change(client, token, "additions", ["ann"]).json["job"] != first.json["job"]


@pytest.mark.parametrize(
    ("users", "at"),
    [
        ([], "users"),
        (["x"] * (MAX_NAMED_USERS + 1), "users"),
        (["ann", ""], "users/1"),
        (["ann", " \t\u3000"], "users/1"),
        (["canary" + "x" * USER_ID_MAX_CHARACTERS], "users/0"),
        (["canary\0"], "users/0"),
        ([7], "users/0"),
        ([None], "users/0"),
    ],
)
def test_invalid_ids_of_single_users_start_nothing(
    client: AsgiClient, world: World, token: str, users: list[Any], at: str
) -> None:
    answer = change(client, token, "additions", users)
    assert (answer.status, answer.json["code"]) == (422, "INVALID_REQUEST"), answer.body
    assert answer.json["values"]["errors"][0]["at"] == at
    assert b"canary" not in answer.body
    assert world.workflow.started == []


def test_user_without_needed_columns_is_refused_but_can_be_removed(
    client: AsgiClient, world: World, token: str
) -> None:
    audience = world.services.audiences.get(ACME, VIP)
    columns = (Column(name="age", type="long"), Column(name="city"))
    for may_lack, code in (((), "MISSING_COLUMN"), (("age",), "MISSING_COLUMN"), (("age", "city"), None)):
        spec = replace(audience.spec, columns=columns, allow_missing_columns=may_lack)
        world.services.audiences.configure(audience.audience_id, spec=spec, retention=audience.retention)
        answer = change(client, token, "additions", ["ann"])
        assert answer.json.get("code") == code
        if may_lack == ("age",):
            assert "configure vip --allow-missing-column city" in answer.json["detail"]
            assert change(client, token, "removals", ["ann"]).status == 202
    missing = client.send(
        "POST",
        "/v1/tenants/acme/audiences/gone/additions",
        token=token,
        body={"users": ["ann"]},
        headers={"Idempotency-Key": "gone"},
    )
    assert (missing.status, missing.json["code"]) == (404, "UNKNOWN_AUDIENCE")


# Jobs


def test_job_is_cancelled_once_and_remains_cancelled(client: AsgiClient, world: World, token: str) -> None:
    for number in (JOB, EXPORT):
        path = f"jobs/{id_of(ACME, number)}/cancellation"
        first, second = send(client, token, "PUT", path), send(client, token, "PUT", path)
        assert (first.json["state"], first.json["already"], second.json["already"]) == ("CANCELLED", False, True)
    assert send(client, token, "PUT", f"jobs/{id_of(ACME, DUPLICATE)}/cancellation").json["code"] == "IS_DUPLICATE"
    late = send(client, token, "PUT", f"jobs/{id_of(ACME, DOWNLOAD)}/cancellation")
    assert (late.status, late.json["code"]) == (409, "TOO_LATE")


def test_a_retry_is_a_new_job_of_the_same_source(client: AsgiClient, world: World, token: str) -> None:
    path = f"jobs/{id_of(ACME, FAILED_JOB)}/retries"
    assert send(client, token, "POST", path, {}).json["code"] == "FILE_AT_FAULT"
    answer = send(client, token, "POST", path, {"force": True})
    request = started(world)["import"]
    assert (request["job_id"], request["retry_of"]) == (answer.json["job"], id_of(ACME, FAILED_JOB))
    assert answer.json["retry_of"] == id_of(ACME, FAILED_JOB)
    running = send(client, token, "POST", f"jobs/{id_of(ACME, JOB)}/retries", {})
    assert (running.status, running.json["code"]) == (409, "NOT_RETRIABLE")


def test_an_export_is_started_with_all_options(client: AsgiClient, world: World, token: str) -> None:
    body = {
        "audience": VIP,
        "to": f"s3://{CRM}/acme/out",
        "version": 2,
        "format": "csv",
        "compression": "gzip",
        "null": "NULL",
        "formulas": "escape",
        "target_mb": 10,
        "where": "age >= 20",
        "attributes": [{"audience": "quiet", "columns": ["plan"], "version": 1}],
        "suppress": [{"audience": "quiet"}],
        "columns": ["age"],
        "partition_by": ["age"],
    }
    answer = send(client, token, "POST", "exports", body)
    assert answer.status == 202, answer.body
    request = started(world)["export"]
    assert (request["export_id"], request["tenant"], request["version"]) == (answer.json["export"], ACME, 2)
    assert request["format"] == {"name": "csv", "compression": "gzip", "null_token": "NULL", "formulas": "escape"}
    assert request["target_bytes"] == 10 * MIB
    assert request["shape"]["suppress"] == [{"audience": "quiet", "version": None}]
    assert (request["shape"]["where"], request["shape"]["columns"]) == ("age >= 20", ["age"])


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"audience": "gone"}, "UNKNOWN_AUDIENCE"),
        ({"to": "/tmp/x"}, "BAD_DESTINATION"),
        ({"to": f"s3://{CRM}/acme/../beta"}, "BAD_DESTINATION"),
        ({"compression": "gzip"}, "BAD_FORMAT"),
        ({"format": "jsonl", "formulas": "escape"}, "BAD_FORMAT"),
        ({"as_of": "yesterday"}, "BAD_TIME"),
        ({"delta_from": "newest"}, "INVALID_REQUEST"),
        ({"version": 0}, "INVALID_REQUEST"),
        ({"where": "a\0"}, "BAD_SHAPE"),
    ],
)
def test_invalid_export_starts_nothing(
    client: AsgiClient, world: World, token: str, changes: dict[str, Any], code: str
) -> None:
    answer = send(client, token, "POST", "exports", {"audience": VIP, "to": "download", **changes})
    assert answer.json["code"] == code, answer.body
    assert world.workflow.started == []


def test_export_files_have_urls_in_its_own_folder(client: AsgiClient, world: World, token: str) -> None:
    answer = send(client, token, "GET", f"exports/{id_of(ACME, DOWNLOAD)}/files")
    folder = f"/staging/download/acme/{id_of(ACME, DOWNLOAD)}/"
    assert answer.status == 200, answer.body
    for url in (answer.json["manifest"], answer.json["items"][0]["url"]):
        assert folder in url
        assert "X-Amz-Expires=300" in url
    for number in (EXPORT, JOB):
        missing = send(client, token, "GET", f"exports/{id_of(ACME, number)}/files")
        assert (missing.status, missing.json["code"]) == (404, "NO_FILES")


# Uploads


@pytest.mark.parametrize(
    ("size", "parts", "last"),
    [
        (5 * GIB + 1, 81, 1),
        (64 * MIB * MAX_PARTS, MAX_PARTS, 64 * MIB),
        (64 * MIB * MAX_PARTS + 1, 9847, None),
        (5 * 1024 * GIB, 9987, None),
    ],
)
def test_parts_add_up_to_the_file_within_the_limit(size: int, parts: int, last: int | None) -> None:
    sizes = part_sizes(size)
    assert (sum(sizes), len(sizes)) == (size, parts)
    assert len(sizes) <= MAX_PARTS
    assert last is None or sizes[-1] == last
    assert len(set(sizes[:-1])) == 1


def test_unfinished_uploads_of_a_tenant_are_limited_without_storing_the_refusal(
    client: AsgiClient, world: World, token: str
) -> None:
    unfinished = upload_of(ACME, LARGE_UPLOAD).size + upload_of(ACME, UPLOAD).size
    body = {"name": "a.csv", "size": UNFINISHED_BYTES - unfinished + 1}
    headers = {"Idempotency-Key": "limit"}
    refused = client.send("POST", "/v1/tenants/acme/uploads", token=token, body=body, headers=headers)
    assert (refused.status, refused.json["code"]) == (429, "TOO_MANY_UPLOADS")
    assert int(refused.headers["retry-after"]) > 0
    send(client, token, "DELETE", f"uploads/{id_of(ACME, UPLOAD)}")
    world.services.uploads.delete(id_of(ACME, LARGE_UPLOAD))
    made = send(client, token, "POST", "uploads", {"name": "a.csv", "size": 5 * GIB})  # the most of one PUT
    assert (made.status, made.json["parts"]) == (201, None)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"size": 0}, "INVALID_REQUEST"),
        ({"size": -1}, "INVALID_REQUEST"),
        ({"size": 5 * 2**40 + 1}, "INVALID_REQUEST"),
        ({"size": 1.5}, "INVALID_REQUEST"),
        ({"name": ""}, "INVALID_REQUEST"),
        ({"name": "a\nb"}, "INVALID_REQUEST"),
        ({"name": "x" * 256}, "INVALID_REQUEST"),
        ({"name": ".."}, "BAD_UPLOAD"),
        ({"name": "../a.csv"}, "BAD_UPLOAD"),
        ({"name": "a\\b.csv"}, "BAD_UPLOAD"),
        ({"content_type": "text"}, "INVALID_REQUEST"),
        ({"content_type": "text/csv\r\nX: y"}, "INVALID_REQUEST"),
    ],
)
def test_invalid_upload_is_refused(client: AsgiClient, token: str, changes: dict[str, Any], code: str) -> None:
    answer = send(client, token, "POST", "uploads", {"name": "a.csv", "size": 1, **changes})
    assert (answer.status, answer.json["code"]) == (422, code)


def test_missing_upload_starts_nothing(client: AsgiClient, world: World, token: str) -> None:
    made = send(client, token, "POST", "uploads", {"name": "a.csv", "size": 3}).json["upload"]
    for stored in (None, b"xx"):
        if stored is not None:
            world.objects.put("staging", world.services.uploads.get(ACME, made).key, stored)
        answer = send(client, token, "POST", "imports", {"audience": VIP, "upload": made})
        assert (answer.status, answer.json["code"]) == (409, "UPLOAD_UNFINISHED")
        assert send(client, token, "PUT", f"uploads/{made}/completion").json["code"] == "UPLOAD_UNFINISHED"
    assert world.workflow.started == []


def test_only_large_uploads_have_numbered_parts(client: AsgiClient, token: str) -> None:
    small, large = f"uploads/{id_of(ACME, UPLOAD)}/parts", f"uploads/{id_of(ACME, LARGE_UPLOAD)}/parts"
    assert send(client, token, "POST", small, {"parts": [1]}).json["code"] == "BAD_UPLOAD"
    assert send(client, token, "POST", large, {"parts": [97]}).json["code"] == "BAD_UPLOAD"
    assert send(client, token, "POST", large, {"parts": [0]}).json["code"] == "INVALID_REQUEST"
    found = send(client, token, "POST", large, {"parts": [96, 1, 1]}).json["items"]
    assert [one["part"] for one in found] == [1, 96]
    assert all("partNumber=" in one["url"] and "content-length" in one["url"] for one in found)


def test_upload_in_use_is_not_deleted(client: AsgiClient, world: World, token: str) -> None:
    source = {"bucket": "staging", "key": upload_of(ACME, UPLOAD).key, "size": 5}
    world.services.jobs.put(id_of(ACME, JOB), source=source)
    answer = send(client, token, "DELETE", f"uploads/{id_of(ACME, UPLOAD)}")
    assert (answer.status, answer.json["code"]) == (409, "UPLOAD_IN_USE")
    send(client, token, "PUT", f"jobs/{id_of(ACME, JOB)}/cancellation")
    assert send(client, token, "DELETE", f"uploads/{id_of(ACME, UPLOAD)}").status == 200
    assert send(client, token, "GET", f"uploads/{id_of(ACME, UPLOAD)}").json["code"] == "UNKNOWN_UPLOAD"


# What goes by its ETag


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", f"audiences/{VIP}", {"retention": {"versions": 4}}),
        ("DELETE", "audiences/quiet", None),
        ("POST", "audiences/quiet/renames", {"audience": "gold"}),
        ("PUT", f"segments/{BUYERS}", {"rule": 'never("x")'}),
        ("DELETE", f"segments/{BUYERS}", None),
        ("PATCH", f"schedules/{NIGHTLY}", {"enabled": False}),
        ("DELETE", f"schedules/{NIGHTLY}", None),
    ],
)
def test_change_requires_the_current_etag(client: AsgiClient, token: str, method: str, path: str, body: Any) -> None:
    thing = path.removesuffix("/renames")
    assert send(client, token, method, path, body).json["code"] == "NO_ETAG"
    assert send(client, token, method, path, body, etag="*").json["code"] == "BAD_ETAG"
    stale = send(client, token, method, path, body, etag='"0000"')
    assert (stale.status, stale.json["code"]) == (412, "STALE_ETAG")
    etag = seen(client, token, thing)
    assert send(client, token, method, path, body, etag=etag).status in {200, 202}
    again = send(client, token, method, path, body, etag=etag)
    assert again.status in ({404} if method == "DELETE" and "audiences" not in path else {202, 412}), again.body


def test_answer_carries_the_etag_of_its_content(client: AsgiClient, token: str) -> None:
    for path, body in (
        ("audiences", {"audience": "gold"}),
        ("segments", {"segment": "gone", "rule": 'ever("x")'}),
        ("schedules", {"name": "soon", "expression": "rate(1 day)", "snapshot": {"segment": BUYERS}}),
    ):
        made = send(client, token, "POST", path, body)
        assert made.status == 201, made.body
        name = body.get("audience") or body.get("segment") or body["name"]
        assert made.headers["etag"] == seen(client, token, f"{path}/{name}")


@pytest.mark.parametrize("query", [{"audience": VIP}, {}], ids=["own", "of all"])
def test_audience_etag_covers_recipients_not_versions(
    client: AsgiClient, world: World, token: str, query: dict[str, str]
) -> None:
    path = f"audiences/{VIP}"
    before = seen(client, token, path)
    with_current = client.get(f"/v1/tenants/acme/{path}", token=token, query={"current": "true"})
    assert (with_current.headers["etag"], with_current.json["current"]["version"]) == (before, 2)
    viewer = client.get(f"/v1/tenants/acme/{path}", token=world.tokens["acme-viewer"].text.reveal())
    assert (viewer.json["notified"], viewer.headers["etag"] == before) == (None, False)
    answer = client.send(
        "PATCH", "/v1/tenants/acme/recipients", token=token, body={"email": ["crm@acme.example"]}, query=query
    )
    assert answer.status == 200, answer.body
    stale = send(client, token, "PATCH", path, {"recipients": {"webhook": []}}, etag=before)
    assert (stale.status, stale.json["code"]) == (412, "STALE_ETAG")


def test_recipients_changed_after_the_etag_check_are_not_replaced(
    client: AsgiClient, world: World, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, recipients = f"audiences/{VIP}", world.services.recipients
    etag, audience_id = seen(client, token, path), world.services.audiences.get(ACME, VIP).audience_id
    checks = itertools.count()

    def check(present: str, given: str) -> None:
        require_revision(present, given)
        if next(checks) == 0:
            recipients.replace(ACME, audience_id, {"email": ["other@acme.example"]})

    change = {"recipients": {"email": ["mine@acme.example"]}, "retention": {"versions": 77}}
    with monkeypatch.context() as patch:
        patch.setattr("orchestration.access.revisions.require_revision", check)
        answer = send(client, token, "PATCH", path, change, etag=etag)
    assert (answer.status, answer.json["code"]) == (412, "STALE_ETAG")
    assert [one.address for one in recipients.get(ACME, audience_id)] == ["other@acme.example"]
    assert world.services.audiences.get(ACME, VIP).retention.versions != 77
    after = send(client, token, "PATCH", path, change, etag=seen(client, token, path))
    assert after.json["notified"][0]["address"] == "mine@acme.example"


def test_omitted_settings_are_kept_and_null_resets(client: AsgiClient, world: World, token: str) -> None:
    path = f"audiences/{VIP}"
    before = client.get(f"/v1/tenants/acme/{path}", token=token).json

    def change(settings: Any, retention: Any) -> Any:
        body = {"settings": settings, "retention": retention}
        answer = send(client, token, "PATCH", path, body, etag=seen(client, token, path))
        assert answer.status == 200, answer.body
        return answer.json

    after = change({"mode": "append", "max_shrink_percent": None}, {"days": 7})
    assert after["spec"] == {**before["spec"], "mode": "append", "max_shrink_percent": None}
    assert after["retention"] == {**before["retention"], "days": 7}
    names = ("mode", "id_column", "format", "timezone", "max_reject_share", "allow_empty", "null_values")
    permissions = {"drop_columns": None, "retype_columns": None}
    reset = change({**dict.fromkeys(names), **permissions, "max_shrink_percent": 7}, {"versions": None})
    defaults = ImportSpec().as_record()
    assert reset["spec"] == {**after["spec"], **{name: defaults[name] for name in names}, "max_shrink_percent": 7}
    assert reset["retention"] == {"versions": Retention().versions, "days": 7}


def test_null_event_setting_resets_to_the_event_default(client: AsgiClient, token: str) -> None:
    path = "activity/events"
    first = send(client, token, "PATCH", path, {"settings": {"timezone": "Asia/Tokyo"}}).json
    text = {"delimiter": ";", "encoding": "cp932"}
    other = send(client, token, "PATCH", path, {"settings": text}).json
    assert other == {**first, "spec": {**first["spec"], **text}}
    reset = {"timezone": None, "mode": None, "columns": None, "delimiter": None, "encoding": None}
    again = send(client, token, "PATCH", path, {"settings": reset}).json
    assert again == {**first, "spec": {**first["spec"], "timezone": None, "mode": "append"}}


# Segments, schedules, recipients


def test_rule_is_never_read_from_a_path_of_the_service(client: AsgiClient, token: str, tmp_path: Path) -> None:
    file = tmp_path / "rule"
    file.write_text('ever("x")')
    for given in (f"@{file}", str(file)):
        answer = send(client, token, "POST", "segments", {"segment": "new", "rule": given})
        assert (answer.status, answer.json["code"]) == (422, "BAD_RULE")


def test_json_rule_is_accepted_and_its_errors_have_a_path(client: AsgiClient, token: str) -> None:
    rule = {"rule": 1, "all": [{"any": [{"evr": {"event": "purchase"}}]}]}
    bad = send(client, token, "POST", "segments", {"segment": "new", "rule": rule})
    assert (bad.status, bad.json["code"]) == (422, "BAD_RULE")
    assert "all[0]" in bad.json["detail"]
    zone = send(client, token, "POST", "segments", {"segment": "new", "rule": {"rule": 1}, "timezone": "UTC"})
    assert zone.json["code"] == "BAD_TIMEZONE"


def test_analyst_cannot_replace_an_audience_by_a_snapshot(client: AsgiClient, world: World) -> None:
    path, body = f"segments/{BUYERS}/snapshots", {"audience": VIP, "allow_shrink": True}
    refused = send(client, world.tokens["acme-analyst"].text.reveal(), "POST", path, body)
    assert (refused.status, refused.json["code"], refused.json["values"]["action"]) == (403, "FORBIDDEN", "run_jobs")
    assert send(client, world.tokens["acme-operator"].text.reveal(), "POST", path, body).status == 202


def test_a_snapshot_of_a_paused_segment_is_refused(client: AsgiClient, world: World, token: str) -> None:
    made = send(client, token, "POST", f"segments/{BUYERS}/snapshots", {"audience": "x", "allow_shrink": True})
    assert made.status == 202
    assert started(world)["snapshot"]["job_id"] == made.json["job"]
    send(client, token, "PUT", f"segments/{BUYERS}/state", {"state": "paused"})
    paused = send(client, token, "POST", f"segments/{BUYERS}/snapshots", {})
    assert (paused.status, paused.json["code"]) == (409, "SEGMENT_PAUSED")
    late = send(client, token, "POST", f"segments/{BUYERS}/snapshots", {"at": "2020-01-01T00:00:00Z"})
    assert late.json["code"] == "BAD_TIME"
    assert send(client, token, "POST", f"segments/{BUYERS}/snapshots", {"at": "noon"}).json["code"] == "INVALID_REQUEST"


@pytest.mark.parametrize("moment", ["0.0", "1700000000", "-1", "2026-11-28", "2026-11-28T09:00:00", "noon"])
def test_numeric_time_and_missing_offset_are_refused(client: AsgiClient, token: str, moment: str) -> None:
    query = {"since": [moment]}
    answers = [client.send("GET", "/v1/tenants/acme/audit", token=token, query=query)]
    for number in (moment, 0.0, 1_700_000_000):
        answers += [
            send(client, token, "POST", f"segments/{BUYERS}/explanations", {"user": "ann", "as_of": number}),
            send(client, token, "POST", f"segments/{BUYERS}/snapshots", {"at": number}),
        ]
    assert {answer.json["code"] for answer in answers} == {"INVALID_REQUEST"}
    query = {"since": ["2026-11-28T09:00:00Z"]}
    assert client.send("GET", "/v1/tenants/acme/audit", token=token, query=query).status == 200


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"expression": "daily"}, "BAD_SCHEDULE"),
        ({"timezone": "Mars/Base"}, "BAD_TIMEZONE"),
        ({"name": "../x"}, "BAD_NAME"),
        ({"name": NIGHTLY}, "SCHEDULE_EXISTS"),
        ({"import": None}, "INVALID_REQUEST"),
        ({"snapshot": {"segment": BUYERS}}, "INVALID_REQUEST"),
        ({"import": {"audience": VIP, "upload": "0" * 26}}, "BAD_SPEC"),
        ({"import": None, "export": {"audience": VIP, "to": f"s3://{CRM}/acme/out"}}, "ADDRESS_REPEATS"),
        ({"import": None, "export": {"audience": VIP, "to": "s3://other/{date}"}}, "BAD_DESTINATION"),
        ({"import": None, "export": {"audience": VIP, "to": "exports/vip"}}, "BAD_DESTINATION"),
        ({"import": None, "export": {"audience": VIP, "to": "download", "profile": "none"}}, "BAD_DESTINATION"),
        ({"import": None, "export": {"audience": "gone", "to": "download"}}, "UNKNOWN_AUDIENCE"),
        ({"import": None, "snapshot": {"segment": "gone"}}, "UNKNOWN_SEGMENT"),
    ],
)
def test_invalid_schedule_is_refused(client: AsgiClient, token: str, changes: dict[str, Any], code: str) -> None:
    body = {
        "name": "new",
        "expression": "rate(1 day)",
        "import": {"audience": VIP, "source": f"s3://{CRM}/acme/vip.csv"},
        **changes,
    }
    answer = send(client, token, "POST", "schedules", body)
    assert answer.json["code"] == code, answer.body


@pytest.mark.parametrize(
    ("export", "code"),
    [
        ({"to": "s3://lake/audiences/acme/{due}"}, "BAD_DESTINATION"),
        ({"to": "s3://inbox/acme/vip/{due}"}, "BAD_DESTINATION"),
        ({"to": "kafka://muster.events"}, "DESTINATION_NOT_WRITABLE"),
        ({"to": "kafka://"}, "BAD_URI"),
        ({"to": "kafka://vip", "format": "csv"}, "BAD_FORMAT"),
        ({"to": "kafka://vip", "profile": "partner"}, "BAD_DESTINATION"),
        ({"to": "s3://theirs/{due}", "profile": "gone"}, "UNKNOWN_PROFILE"),
        ({"to": "s3://theirs/{due}", "profile": "partner"}, "OUTSIDE_PROFILE"),
        ({"to": "s3://x/{due}"}, "BAD_URI"),
        ({"to": "s3://theirs/../{due}"}, "BAD_URI"),
    ],
)
def test_schedule_with_an_invalid_destination_is_refused_like_its_exports(
    client: AsgiClient, world: World, token: str, export: dict[str, Any], code: str
) -> None:
    world.services.places.replace({ACME: (EVERYWHERE,)}, check=lambda _: None)
    world.settings.destinations_file.write_text('[partner]\nregion = "r"\nprefix = "s3://theirs/from-us"\n')
    wanted = {"audience": VIP, **export}
    kept = send(client, token, "POST", "schedules", {**A_SCHEDULE, "export": {**AN_EXPORT, "to": "download"}}).json
    path = f"schedules/{kept['name']}"
    for answer in (
        send(client, token, "POST", "exports", wanted),
        send(client, token, "POST", "schedules", {**A_SCHEDULE, "name": "new", "export": wanted}),
        send(client, token, "PATCH", path, {"export": {"format": "parquet"} | export}, etag=seen(client, token, path)),
    ):
        assert answer.json["code"] == code, answer.body
    assert client.get(f"/v1/tenants/acme/{path}", token=token).json == kept
    assert world.workflow.started == []


@pytest.mark.parametrize("place", [EVERYWHERE, f"s3://{CRM}/acme/"])
def test_schedule_can_export_to_download_without_locations(
    client: AsgiClient, world: World, token: str, place: str
) -> None:
    world.services.places.replace({ACME: (place,)}, check=lambda _: None)
    made = send(client, token, "POST", "schedules", {**A_SCHEDULE, "export": {"audience": VIP, "to": "download"}})
    assert (made.status, made.json["request"]["to"]) == (201, "download")


A_SCHEDULE = {"name": "hourly", "expression": "rate(1 hour)"}
AN_IMPORT = {"audience": VIP, "source": f"s3://{CRM}/acme/vip.csv", "settings": {"mode": "append", "format": "csv"}}
AN_EXPORT = {"audience": VIP, "to": f"s3://{CRM}/acme/{{due}}", "format": "csv", "where": "age > 1"}
A_SNAPSHOT = {"segment": BUYERS, "audience": "of-buyers"}


@pytest.mark.parametrize(
    ("made", "edit", "changed"),
    [
        (
            {"import": AN_IMPORT},
            {"import": {"settings": {"format": None, "timezone": "UTC"}, "again": True}},
            {"overrides": {"mode": "append", "timezone": "UTC"}, "again": True},
        ),
        (
            {"import": AN_IMPORT},
            {"import": {"source": f"s3://{CRM}/acme/b-{{date}}.csv", "settings": {"max_shrink_percent": None}}},
            {
                "key": "acme/b-{date}.csv",
                "overrides": {"mode": "append", "format": "csv", "max_shrink_percent": None},
            },
        ),
        (
            {"import": {"kind": "events", "source": AN_IMPORT["source"], "only_columns": True}},
            {"import": {"only_columns": False, "settings": {"columns": [{"name": "total", "type": "double"}]}}},
            {"overrides": {"columns": [{"name": "total", "type": "double", "source": None}]}},
        ),
        (
            {"export": AN_EXPORT},
            {"export": {"format": "parquet", "where": None, "since_last": True, "target_mb": 8}},
            {
                "format": {"name": "parquet", "compression": "none", "null_token": None, "formulas": "as-is"},
                "shape": {"where": None, "attributes": [], "suppress": [], "columns": None, "partition_by": []},
                "delta_from": "last",
                "target_bytes": 8 * MIB,
            },
        ),
        ({"snapshot": A_SNAPSHOT}, {"snapshot": {"allow_shrink": True}}, {"allow_shrink": True}),
    ],
    ids=["settings", "source", "events", "export", "snapshot"],
)
def test_schedule_edit_changes_only_named_settings(
    client: AsgiClient, world: World, token: str, made: dict[str, Any], edit: dict[str, Any], changed: dict[str, Any]
) -> None:
    before = send(client, token, "POST", "schedules", {**A_SCHEDULE, **made}).json
    path = f"schedules/{before['name']}"
    answer = send(client, token, "PATCH", path, edit, etag=seen(client, token, path))
    assert answer.status == 200, answer.body
    assert answer.json == {**before, "request": {**before["request"], **changed}}
    assert (answer.json, answer.headers["etag"]) == (
        client.get(f"/v1/tenants/acme/{path}", token=token).json,
        seen(client, token, path),
    )
    [entry] = world.services.audit.search(object_=f"acme/{path}", limit=1)
    assert (entry.action, entry.before, entry.after) == ("schedules change", before, answer.json)


def test_schedule_with_changed_times_is_next_due_after_the_edit(client: AsgiClient, token: str) -> None:
    path, change = "schedules/hourly", {"expression": "cron(0  7 ? 3 mon 2100)", "timezone": "Asia/Tokyo"}
    before = send(client, token, "POST", "schedules", {**A_SCHEDULE, "import": AN_IMPORT}).json
    after = send(client, token, "PATCH", path, {**change, "enabled": False}, etag=seen(client, token, path)).json
    assert (after["expression"], after["timezone"]) == ("cron(0 7 ? 3 MON 2100)", "Asia/Tokyo")
    assert (after["enabled"], after["created_at"]) == (False, before["created_at"])
    resumed = send(client, token, "PATCH", path, {"enabled": True}, etag=seen(client, token, path)).json
    assert resumed["next_due"] == "2100-02-28T22:00:00.000Z"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, "INVALID_REQUEST"),
        ({"import": {"settings": {}}}, "INVALID_REQUEST"),
        ({"import": {"audience": VIP}}, "INVALID_REQUEST"),
        ({"expression": "daily"}, "BAD_SCHEDULE"),
        ({"expression": "at(2020-01-01T00:00:00)"}, "BAD_SCHEDULE"),
        ({"timezone": "Mars/Base"}, "BAD_TIMEZONE"),
        ({"snapshot": {"allow_shrink": True}}, "BAD_SCHEDULE"),
        ({"export": {"to": f"s3://{CRM}/acme/{{hour}}"}}, "ADDRESS_REPEATS"),
        ({"export": {"to": "s3://other/{due}"}}, "BAD_DESTINATION"),
        ({"export": {"to": "exports/vip"}}, "BAD_DESTINATION"),
        ({"export": {"suppress": [{"audience": "gone"}]}}, "UNKNOWN_AUDIENCE"),
        ({"export": {"null": "a,b"}}, "BAD_FORMAT"),
    ],
)
def test_an_edit_is_checked_like_a_new_schedule(
    client: AsgiClient, token: str, change: dict[str, Any], code: str
) -> None:
    before = send(client, token, "POST", "schedules", {**A_SCHEDULE, "export": AN_EXPORT}).json
    path = f"schedules/{before['name']}"
    answer = send(client, token, "PATCH", path, change, etag=seen(client, token, path))
    assert answer.json["code"] == code, answer.body
    assert client.get(f"/v1/tenants/acme/{path}", token=token).json == before


@pytest.mark.parametrize(
    ("method", "change"),
    [("DELETE", None), ("PATCH", {"enabled": False}), ("PATCH", {"enabled": False, "expression": "rate(2 days)"})],
)
def test_schedule_changed_after_the_etag_check_is_stale(
    client: AsgiClient, world: World, token: str, monkeypatch: pytest.MonkeyPatch, method: str, change: Any
) -> None:
    path, schedules = f"schedules/{NIGHTLY}", world.services.schedules
    etag, before = seen(client, token, path), schedules.get(ACME, NIGHTLY)
    others = replace(before, timezone="Asia/Tokyo")

    def check(present: str, given: str) -> None:
        require_revision(present, given)
        assert schedules.change(before, others)

    with monkeypatch.context() as patch:
        patch.setattr("orchestration.access.revisions.require_revision", check)
        answer = send(client, token, method, path, change, etag=etag)
    assert (answer.status, answer.json["code"]) == (412, "STALE_ETAG")
    assert schedules.get(ACME, NIGHTLY) == others
    assert send(client, token, method, path, change, etag=seen(client, token, path)).status == 200


def test_manual_run_is_one_job_per_key(client: AsgiClient, world: World, token: str) -> None:
    path, headers = f"/v1/tenants/acme/schedules/{NIGHTLY}/runs", {"Idempotency-Key": "run"}
    answers = [client.send("POST", path, token=token, headers=headers) for _ in range(2)]
    assert answers[0].status == 202
    assert answers[0].body == answers[1].body
    assert len(world.workflow.started) == 1


def test_secrets_in_webhook_urls_are_not_shown_or_audited(client: AsgiClient, world: World, token: str) -> None:
    body = {"email": ["ops@acme.example"], "webhook": ["https://hooks.acme.example/x?token=s3cret"]}
    answer = send(client, token, "PUT", "recipients", body)
    assert [one["address"] for one in answer.json["items"]] == ["ops@acme.example", "https://hooks.acme.example/x"]
    assert "s3cret" not in str(world.services.audit.search())
    private = send(client, token, "PUT", "recipients", {"email": [], "webhook": ["https://127.0.0.1/x"]})
    assert (private.status, private.json["code"]) == (422, "BAD_RECIPIENT")
    assert send(client, token, "PUT", "recipients", {"email": [], "webhook": []}).json["items"] == []


def test_consent_policy_is_numbered_checked_and_audited(client: AsgiClient, world: World, token: str) -> None:
    first = seen(client, token, "consent")
    wanted = {"items": [{"audience": QUIET}, {"audience": QUIET, "destination": f"s3://{CRM}/acme", "max_age_s": 60}]}
    set_ = send(client, token, "PUT", "consent", wanted, etag=first)
    assert (set_.status, set_.json["policy"]) == (200, 1)
    assert [(one["destination"], one["max_age_s"]) for one in set_.json["items"]] == [
        (None, None),
        (f"s3://{CRM}/acme/", 60),
    ]
    assert send(client, token, "PUT", "consent", {"items": []}, etag=first).json["code"] == "STALE_ETAG"
    now = seen(client, token, "consent")
    for items, code in (
        ([{"audience": "gone"}], "UNKNOWN_AUDIENCE"),
        ([{"audience": f"{QUIET}{ONLY_BETA}"}], "UNKNOWN_AUDIENCE"),
        ([{"audience": QUIET, "destination": "*"}], "BAD_PLACE"),
        ([{"audience": QUIET}, {"audience": QUIET}], "BAD_CONSENT"),
        ([{"audience": QUIET, "exempt": True}], "BAD_CONSENT"),
        ([{"audience": QUIET, "max_age_s": 0}], "INVALID_REQUEST"),
    ):
        answer = send(client, token, "PUT", "consent", {"items": items}, etag=now)
        assert (answer.status, answer.json["code"]) == (404 if code.startswith("UNKNOWN") else answer.status, code)
    in_use = send(client, token, "DELETE", f"audiences/{QUIET}", etag=seen(client, token, f"audiences/{QUIET}"))
    assert (in_use.status, in_use.json["code"]) == (409, "AUDIENCE_IN_USE")
    file = {"to": f"s3://{CRM}/acme/vip.parquet"}
    assert send(client, token, "POST", f"audiences/{VIP}/files", file).json["code"] == "CONSENT_APPLIES"
    entry = next(one for one in world.services.audit.search() if one.action == "consent replace" and one.after)
    assert entry.after is not None
    assert entry.after["policy"] == 1


def test_feed_must_exclude_the_standing_lists_of_its_target(client: AsgiClient, token: str) -> None:
    def created(name: str, rule: str) -> tuple[int, Any]:
        send(client, token, "POST", "segments", {"segment": name, "rule": rule})
        feed = {"name": name, "segment": name, "to": "kafka://acme.buyers"}
        answer = send(client, token, "POST", "feeds", feed)
        return answer.status, answer.json

    only_there = {"items": [{"audience": QUIET, "destination": "kafka://acme.buyers"}]}
    send(client, token, "PUT", "consent", only_there, etag=seen(client, token, "consent"))
    status, refused = created("everyone", "ever(order)")
    assert (status, refused["code"]) == (409, "FEED_WITHOUT_CONSENT")
    assert f"`and not in audience {QUIET}`" in refused["detail"]
    assert created("careful", f"ever(order) and not in audience {QUIET}")[0] == 201
    for name, unexcluded in {"everyone": [QUIET], "careful": []}.items():
        assert client.get(f"/v1/tenants/acme/segments/{name}", token=token).json["unexcluded_lists"] == unexcluded
    exempt = {"items": [{"audience": QUIET}, {"audience": QUIET, "destination": "kafka://acme.buyers", "exempt": True}]}
    send(client, token, "PUT", "consent", exempt, etag=seen(client, token, "consent"))
    assert created("everyone", "ever(order)")[0] == 201


def test_test_notification_is_limited_to_five_a_minute_per_tenant(client: AsgiClient, world: World, token: str) -> None:
    url = "https://hooks.acme.example/x"
    send(client, token, "PUT", "recipients", {"email": [], "webhook": [f"{url}?token=s3cret"]})
    test = {"channel": "webhook", "address": url}
    answers = [send(client, token, "POST", "recipients/tests", test) for _ in range(6)]
    assert [one.status for one in answers] == [202] * 5 + [429]
    assert (answers[5].json["code"], "retry-after" in answers[5].headers) == ("TOO_MANY_TESTS", True)
    pending = world.services.operations.pending(RECIPIENT_TEST)
    assert {one.request["address"] for one in pending} == {f"{url}?token=s3cret"}
    assert world.services.operations.pending(LAKE_CHANGES) == []
    found = send(client, token, "GET", answers[0].headers["location"].removeprefix("/v1/tenants/acme/"))
    assert (found.json["kind"], found.json["state"]) == ("recipient_test", "pending")
    assert "s3cret" not in f"{[one.body for one in answers]} {found.body!r} {world.services.audit.search()}"
    for other in ({"channel": "email", "address": url}, {"channel": "webhook", "address": "https://x.example/"}):
        assert send(client, token, "POST", "recipients/tests", other).json["code"] == "UNKNOWN_RECIPIENT"


# Operations


def test_dry_run_of_an_upload_uses_the_manifest_of_its_export(client: AsgiClient, world: World, token: str) -> None:
    address = f"s3://{CRM}/acme/manifest.json"
    world.objects.put(CRM, "acme/manifest.json", manifest_of(ACME).encode())
    wanted = {"upload": id_of(ACME, UPLOAD), "target": VIP, "manifest": address, "spec": {"mode": "append"}}
    refused = send(client, token, "POST", "checks", wanted)
    assert (refused.status, refused.json["code"]) == (422, "NOT_IN_MANIFEST")  # of its one file, plain.parquet
    uri = f"s3://staging/{upload_of(ACME, UPLOAD).key}"
    assert send(client, token, "POST", "checks", {**wanted, "manifest": None}).status == 202
    asked = until(lambda: cast(FakeReaders, world.services.readers).asked, "a reader was asked")
    assert asked == [TryImport(tenant=ACME, uri=uri, target=VIP, spec={"mode": "append"})]
    for changes, code in (
        ({"source": uri}, "INVALID_REQUEST"),
        ({"upload": None}, "INVALID_REQUEST"),
        ({"target": None}, "INVALID_REQUEST"),
        ({"upload": id_of(BETA, UPLOAD)}, "UNKNOWN_UPLOAD"),
        ({"manifest": "s3://lake/manifest.json"}, "BAD_SOURCE"),
    ):
        assert send(client, token, "POST", "checks", {**wanted, **changes}).json["code"] == code, changes


@pytest.mark.parametrize(
    ("to", "code"),
    [
        (f"s3://{CRM}/beta/vip.parquet", "BAD_DESTINATION"),
        ("s3://lake/acme/vip.parquet", "BAD_DESTINATION"),
        ("/tmp/vip.parquet", "BAD_URI"),
    ],
)
def test_file_is_written_only_to_allowed_locations(client: AsgiClient, token: str, to: str, code: str) -> None:
    assert send(client, token, "POST", f"audiences/{VIP}/files", {"to": to}).json["code"] == code


def test_a_rollback_is_an_operation_that_waits_for_the_control_plane(
    client: AsgiClient, world: World, token: str
) -> None:
    answer = send(client, token, "POST", f"audiences/{VIP}/rollbacks", {"version": 1, "reason": "x"})
    assert (answer.status, answer.json["state"]) == (202, "pending")
    assert answer.headers["location"] == f"/v1/tenants/acme/operations/{answer.json['operation']}"
    (pending,) = world.services.operations.pending(LAKE_CHANGES)
    assert (pending.operation_id, dict(pending.request)) == (answer.json["operation"], {"version": 1, "reason": "x"})
    world.services.operations.finish(pending.operation_id, UserError("X", "y"), now_ms=1)
    found = send(client, token, "GET", f"operations/{pending.operation_id}").json
    assert (found["state"], found["error"]["code"]) == ("failed", "X")
    assert send(client, token, "GET", f"operations/{id_of(ACME, 77)}").json["code"] == "UNKNOWN_OPERATION"
    missing = send(client, token, "POST", f"audiences/{VIP}/rollbacks", {"version": 9})
    assert (missing.status, missing.json["code"]) == (404, "NO_SUCH_VERSION")


def test_audience_in_use_cannot_be_renamed_or_deleted(client: AsgiClient, world: World, token: str) -> None:
    send(client, token, "POST", "segments", {"segment": "of-quiet", "rule": "in audience quiet"})
    etag = seen(client, token, "audiences/quiet")
    renamed = send(client, token, "POST", "audiences/quiet/renames", {"audience": "gold"}, etag=etag)
    deleted = send(client, token, "DELETE", "audiences/quiet", etag=etag)
    busy = send(client, token, "DELETE", f"audiences/{VIP}", etag=seen(client, token, f"audiences/{VIP}"))
    assert [one.json["code"] for one in (renamed, deleted, busy)] == [
        "AUDIENCE_IN_USE",
        "AUDIENCE_IN_USE",
        "AUDIENCE_BUSY",
    ]
    assert world.services.operations.pending(LAKE_CHANGES) == []


def test_a_refused_rule_leaves_little_in_the_audit_trail(world: World, client: AsgiClient) -> None:
    rule = f'ever("{"x" * 100_000}'
    token = world.tokens["acme-admin"].text.reveal()
    answer = client.send("POST", "/v1/tenants/acme/segments", token=token, body={"segment": "new", "rule": rule})
    assert answer.status == 422
    (entry,) = world.services.audit.search(object_="acme/segments/new")
    assert entry.error == answer.json["code"]
    assert len(entry.arguments["rule"]) == 2000
