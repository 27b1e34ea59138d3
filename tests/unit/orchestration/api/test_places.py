"""A tenant may name its own data and its allowed locations, but neither internal data nor that of another tenant."""

from typing import Any

import pytest

from orchestration.catalog.places import EVERYWHERE
from schemas.ids import DEFAULT_TENANT, TenantName
from tests.fakes.asgi import Answer, AsgiClient
from tests.fakes.tenants import ACME, BETA, BUYERS, CRM, FAILED_JOB, ONLY_BETA, UPLOAD, VIP, World, id_of, upload_of


@pytest.fixture
def token(world: World) -> str:
    return world.tokens["acme-engineer"].text.reveal()


_counted = 0


def post(client: AsgiClient, token: str, path: str, body: Any, tenant: str = ACME) -> Answer:
    global _counted  # noqa: PLW0603  # every request has its own key
    _counted += 1
    headers = {"Idempotency-Key": f"place {_counted}"}
    return client.send("POST", f"/v1/tenants/{tenant}/{path}", token=token, body=body, headers=headers)


def set_places(world: World, *places: str) -> None:
    kept = world.services.places.of(BETA)
    world.services.places.replace({ACME: places, BETA: kept}, check=lambda _: None)


@pytest.mark.parametrize(
    "source",
    [
        f"s3://{CRM}/beta/vip.csv",
        f"s3://{CRM}/acme/../beta/vip.csv",
        f"s3://{CRM}/acme",
        f"s3://{CRM}x/acme/vip.csv",
        "s3://lake/audiences/acme/x.parquet",
        f"s3://staging/{upload_of(BETA, UPLOAD).key}",
        f"s3://staging/uploads/acme/../beta/upload/{id_of(BETA, UPLOAD)}/a.csv",
        "s3://staging/download/acme/x/a.csv",
        "s3://inbox/beta/vip/a.csv",
        "s3://inbox/acme/../beta/vip/a.csv",
        "s3://elsewhere/a.csv",
    ],
)
def test_import_outside_allowed_locations_is_refused(client: AsgiClient, world: World, token: str, source: str) -> None:
    key = source.removeprefix("s3://").partition("/")
    world.objects.put(key[0], key[2], b"x")
    for path, body in (
        ("imports", {"audience": VIP, "source": source}),
        ("imports", {"audience": VIP, "source": f"s3://{CRM}/acme/vip.csv", "manifest": source}),
        ("schedules", {"name": "x", "expression": "rate(1 day)", "import": {"audience": VIP, "source": source}}),
    ):
        answer = post(client, token, path, body)
        assert (answer.status, answer.json["code"]) == (422, "BAD_SOURCE"), (path, answer.body)
    assert world.workflow.started == []


@pytest.mark.parametrize(
    "source", [f"s3://{CRM}/acme/vip.csv", "s3://inbox/acme/vip/a.csv", f"s3://staging/{upload_of(ACME, UPLOAD).key}"]
)
def test_allowed_locations_inbox_and_uploads_can_be_imported(
    client: AsgiClient, world: World, token: str, source: str
) -> None:
    world.objects.put("inbox", "acme/vip/a.csv", b"x")
    assert post(client, token, "imports", {"audience": VIP, "source": source}).status == 202


@pytest.mark.parametrize(
    "to",
    [
        f"s3://{CRM}/beta/out",
        f"s3://{CRM}",
        "s3://elsewhere/out",
        "s3://lake/exports/acme",
        "s3://lake/audiences/acme",
        "s3://staging/download/beta/x",
        "s3://staging/download/acmex",
        "s3://staging/uploads/acme/x",
        "s3://inbox/acme/vip",
        "kafka://acme-vip",
        "kafka://muster.events",
    ],
)
def test_export_outside_allowed_locations_is_refused(client: AsgiClient, world: World, token: str, to: str) -> None:
    answer = post(client, token, "exports", {"audience": VIP, "to": to})
    assert (answer.status, answer.json["code"]) == (422, "BAD_DESTINATION")
    assert world.workflow.started == []


@pytest.mark.parametrize(
    ("to", "place"),
    [
        (f"s3://{CRM}/acme/out", f"s3://{CRM}/acme/"),
        ("s3://lake/exports/vip", EVERYWHERE),
        ("s3://lake/exports/acme", EVERYWHERE),
        ("s3://lake/exports/beta", "s3://lake/exports/beta/"),
        ("s3://staging/download/acme/mine", EVERYWHERE),
        ("download", EVERYWHERE),
        ("s3://lake/exports/acme", "s3://lake/exports/acme/"),
        ("s3://elsewhere/out", "s3://elsewhere/"),
        ("kafka://acme-vip", "kafka://acme-vip"),
        ("download", f"s3://{CRM}/acme/"),
        ("s3://anywhere/at/all", EVERYWHERE),
    ],
)
def test_export_goes_to_an_allowed_location(client: AsgiClient, world: World, token: str, to: str, place: str) -> None:
    set_places(world, place)
    answer = post(client, token, "exports", {"audience": VIP, "to": to})
    assert answer.status == 202, answer.body
    (started,) = world.workflow.started
    if to == "download":
        assert f"s3://staging/download/acme/{answer.json['export']}" in started


@pytest.mark.parametrize(
    "to",
    [
        "s3://staging/download/beta/x",
        "s3://staging/download/betax",
        "s3://staging/download",
        "s3://lake/exports/beta",
        "s3://lake/audiences/acme/x",
        "s3://inbox/acme/vip",
    ],
)
def test_everywhere_excludes_folders_of_other_tenants(client: AsgiClient, world: World, token: str, to: str) -> None:
    set_places(world, EVERYWHERE)
    for path, body in (
        ("exports", {"audience": VIP, "to": to}),
        ("schedules", {"name": "x", "expression": "at(2100-01-01T00:00:00)", "export": {"audience": VIP, "to": to}}),
        (f"audiences/{VIP}/files", {"to": f"{to}/vip.parquet", "overwrite": True}),
    ):
        answer = post(client, token, path, body)
        assert (answer.status, answer.json["code"]) == (422, "BAD_DESTINATION"), (path, answer.body)
    assert world.workflow.started == []


def test_profile_credentials_require_their_own_location(client: AsgiClient, world: World, token: str) -> None:
    body = {"audience": VIP, "to": "s3://theirs/out", "profile": "partner"}
    world.settings.destinations_file.write_text('[partner]\nregion = "r"\nprefix = "s3://theirs/out"\n')
    assert post(client, token, "exports", body).json["code"] == "BAD_DESTINATION"
    set_places(world, "s3://theirs/")
    assert post(client, token, "exports", body).json["code"] == "BAD_DESTINATION"
    set_places(world, "profile:partner")
    assert post(client, token, "exports", body).status == 202


def test_revoked_location_refuses_retries(client: AsgiClient, world: World, token: str) -> None:
    path = f"jobs/{id_of(ACME, FAILED_JOB)}/retries"
    set_places(world)
    assert post(client, token, path, {"force": True}).json["code"] == "BAD_SOURCE"
    set_places(world, "s3://plain/")
    assert post(client, token, path, {"force": True}).status == 202


@pytest.mark.parametrize(
    "shape",
    [
        {"suppress": [{"audience": VIP + ONLY_BETA}]},
        {"attributes": [{"audience": VIP + ONLY_BETA, "columns": ["age"]}]},
    ],
)
def test_lists_of_another_tenant_are_unknown_to_exports(
    client: AsgiClient, world: World, token: str, shape: dict[str, Any]
) -> None:
    body = {"audience": VIP, "to": "download", **shape}
    foreign = post(client, token, "exports", body)
    assert (foreign.status, foreign.json["code"]) == (404, "UNKNOWN_AUDIENCE")
    ((kind, (named,)),) = shape.items()
    missing = post(client, token, "exports", {**body, kind: [{**named, "audience": "nothing"}]})
    assert foreign.body.replace((VIP + ONLY_BETA).encode(), b"nothing").replace(
        foreign.json["instance"].encode(), b""
    ) == missing.body.replace(missing.json["instance"].encode(), b"")
    assert world.workflow.started == []


def test_an_upload_of_another_tenant_is_unknown_to_imports(client: AsgiClient, world: World, token: str) -> None:
    foreign = post(client, token, "imports", {"audience": VIP, "upload": id_of(BETA, UPLOAD)})
    missing = post(client, token, "imports", {"audience": VIP, "upload": id_of(ACME, 77)})
    assert (foreign.status, foreign.json["code"]) == (404, "UNKNOWN_UPLOAD")
    assert foreign.json["detail"].replace(id_of(BETA, UPLOAD), id_of(ACME, 77)) == missing.json["detail"]


@pytest.mark.parametrize("rule", [f"in audience {VIP}{ONLY_BETA}", f"in segment {BUYERS}{ONLY_BETA}"])
def test_names_of_another_tenant_are_unknown_to_rules(client: AsgiClient, token: str, rule: str) -> None:
    answer = post(client, token, "segments", {"segment": "new", "rule": rule})
    assert answer.status == 404
    missing = post(client, token, "segments", {"segment": "new", "rule": rule.replace(ONLY_BETA, "-missing")})
    assert {**missing.json, "instance": ""} == {
        name: _renamed(value) for name, value in {**answer.json, "instance": ""}.items()
    }


def _renamed(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace(ONLY_BETA, "-missing")
    if isinstance(value, dict):
        return {name: _renamed(one) for name, one in value.items()}
    return [_renamed(one) for one in value] if isinstance(value, list) else value


def test_new_service_tenant_has_no_locations_and_a_local_one_has_all(client: AsgiClient, world: World) -> None:
    admin = world.tokens["deployment-admin"].text.reveal()
    client.send("POST", "/v1/tenants", token=admin, body={"tenant": "new"})
    world.services.audiences.add_tenant(TenantName("local"), 1)
    found = {one["tenant"]: one["places"] for one in client.get("/v1/places", token=admin).json["items"]}
    assert (found["new"], found["local"]) == ([], [EVERYWHERE])


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("s3://bucket", "s3://bucket/"),
        ("s3://bucket/a/b", "s3://bucket/a/b/"),
        ("s3://bucket/a/b/", "s3://bucket/a/b/"),
        ("kafka://topic", "kafka://topic"),
        ("profile:partner", "profile:partner"),
        ("*", "*"),
    ],
)
def test_locations_are_normalised(client: AsgiClient, world: World, given: str, kept: str) -> None:
    answer = put_places(client, world, {"items": [{"tenant": ACME, "places": [given, kept]}]})
    assert answer.status == 200, answer.body
    assert world.services.places.of(ACME) == (kept,)
    assert world.services.places.of(BETA) == ()


@pytest.mark.parametrize(
    "place",
    [
        *("", "bucket", "s3://", "s3:///a", "s3://b", "s3://bucket/a/../b", "s3://bucket/a//b", "s3://bucket/a\x01"),
        *("kafka://", "kafka://muster.events", "profile:", "profile:a/b", "**", "ftp://x/y", "file:///x"),
        "s3://bucket/" + "x" * 1020,
    ],
)
def test_invalid_location_is_refused(client: AsgiClient, world: World, place: str) -> None:
    answer = put_places(client, world, {"items": [{"tenant": ACME, "places": [place]}]})
    assert answer.json["code"] in {"BAD_PLACE", "INVALID_REQUEST"}, place
    assert answer.status == 422
    assert world.services.places.of(ACME) != ()


def test_locations_of_a_missing_tenant_and_stale_ones_are_refused(client: AsgiClient, world: World) -> None:
    unknown = put_places(client, world, {"items": [{"tenant": "gone", "places": []}]})
    assert (unknown.status, unknown.json["code"]) == (404, "UNKNOWN_TENANT")
    admin = world.tokens["deployment-admin"].text.reveal()
    seen = client.get("/v1/places", token=admin).headers["etag"]
    set_places(world, "s3://new/")
    stale = client.send("PUT", "/v1/places", token=admin, body={"items": []}, headers={"If-Match": seen})
    assert (stale.status, stale.json["code"]) == (412, "STALE_ETAG")
    assert world.services.places.of(ACME) == ("s3://new/",)


def put_places(client: AsgiClient, world: World, body: Any) -> Answer:
    admin = world.tokens["deployment-admin"].text.reveal()
    seen = client.get("/v1/places", token=admin).headers["etag"]
    return client.send("PUT", "/v1/places", token=admin, body=body, headers={"If-Match": seen})


def test_default_tenant_starts_with_every_location(client: AsgiClient, world: World) -> None:
    admin = world.tokens["deployment-admin"].text.reveal()
    for tenant, places in ((DEFAULT_TENANT, (EVERYWHERE,)), (TenantName("new"), ())):
        assert client.send("POST", "/v1/tenants", token=admin, body={"tenant": tenant}).status == 201
        assert world.services.places.of(tenant) == places
