"""Invalid requests, pages of lists, and changes with ETags."""

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st

from orchestration.access.policy import DEPLOYMENT
from orchestration.api.cursors import encode
from schemas.errors import RetriableError
from tests.examples import examples
from tests.fakes.asgi import AsgiClient
from tests.fakes.tenants import ACME, DOWNLOAD, EXPORT, FAILED_JOB, JOB, World, id_of
from tests.unit.orchestration.api.operations import OPERATIONS, Call, Operation, path_of

MINE = "/v1/tokens"
LISTS = [
    one for one in OPERATIONS.values() if any(given["name"] == "cursor" for given in one.record.get("parameters", ()))
]
JOBS = "/v1/tenants/acme/jobs"
NESTED = "[" * 100_000


def test_list_continues_at_its_cursor_until_next_is_null(client: AsgiClient, token: str) -> None:
    ids, query = [], {"limit": 1}
    while True:
        page = client.get(JOBS, token=token, query=query).json
        ids += [item.get("job") or item["export"] for item in page["items"]]
        if page["next"] is None:
            break
        query = {"limit": 1, "cursor": page["next"]}
    assert ids == [id_of(ACME, number) for number in (DOWNLOAD, EXPORT, FAILED_JOB, JOB)]


@pytest.mark.parametrize("operation", LISTS, ids=[one.name for one in LISTS])
@examples(30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.text(max_size=80), st.integers().map(str)))
@example("9" * 300)
@example("\u0661")
def test_a_forged_cursor_is_refused_or_continues_its_list(
    client: AsgiClient, world: World, operation: Operation, key: str
) -> None:
    call = Call(world=world, caller="deployment-admin", tenant=ACME)
    path = path_of(operation.path, operation, call)
    most = {"limit", "rows"} & {given["name"] for given in operation.record["parameters"]}
    query = {**dict.fromkeys(most, 1), "cursor": encode(path, {}, key)}
    answer = client.get(path, token=world.tokens[call.caller].text.reveal(), query=query)
    assert answer.status == 200 or answer.json["code"] in {"BAD_CURSOR", "INVALID_REQUEST"}, answer.body


def test_filters_of_jobs_are_kinds_states_and_an_audience(client: AsgiClient, token: str) -> None:
    def found(**query: Any) -> int:
        return len(client.get(JOBS, token=token, query=query).json["items"])

    assert found(kind="export") == 2
    assert found(kind=["export", "audience"]) == 4
    assert found(state="failed") == 1
    assert found(audience="vip") == 4
    assert found(audience="gold") == 0
    assert client.get(JOBS, token=token, query={"state": "ASLEEP"}).json["code"] == "UNKNOWN_STATE"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"kidn": "export"}, "UNKNOWN_PARAMETER"),
        ({"kind": "exprot"}, "INVALID_REQUEST"),
        ({"limit": 0}, "INVALID_REQUEST"),
        ({"limit": 501}, "INVALID_REQUEST"),
        ({"limit": "x"}, "INVALID_REQUEST"),
        ({"cursor": "x"}, "BAD_CURSOR"),
        ({"cursor": "x" * 600}, "INVALID_REQUEST"),
        ({"audience": "x" * 256}, "INVALID_REQUEST"),
        ({"audience": "a\0b"}, "INVALID_REQUEST"),
        ({"state": "a\0b"}, "UNKNOWN_STATE"),
    ],
)
def test_invalid_parameters_are_refused(client: AsgiClient, token: str, query: dict[str, Any], code: str) -> None:
    answer = client.get(JOBS, token=token, query=query)
    assert answer.json["code"] == code
    assert answer.status in {400, 422}


@pytest.mark.parametrize(
    "path",
    ["jobs/x", "jobs/" + "0" * 26, "jobs/a\0b", "jobs/..", "audiences/default ", "segments/😀"],
)
def test_impossible_ids_and_names_are_unknown_or_refused(client: AsgiClient, token: str, path: str) -> None:
    answer = client.get(f"/v1/tenants/acme/{path}", token=token)
    assert answer.status in {404, 422}, answer.body


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"\xff",
        b"{}",
        NESTED.encode(),
        b'{"name": "x", "roles": ["viewer"], "admin": true}',
        b'{"name": 1, "roles": ["viewer"]}',
        b'{"name": "x", "roles": "viewer"}',
        b'{"name": "x", "roles": ["viewer"], "days": "9"}',
        b'{"name": "x", "roles": ["viewer"], "days": 1.5}',
        b'{"name": "x", "roles": ["viewer"], "days": true}',
        b'{"name": "x", "roles": ["viewer"], "days": NaN}',
        b'{"name": "a\\u0000b", "roles": ["viewer"]}',
        b'{"name": "\\ud800", "roles": ["viewer"]}',
        b'{"name": "x", "roles": ["\\ud800"]}',
        b'{"name": "", "roles": ["viewer"]}',
        b'{"name": "x", "roles": ["viewer"], "principal": "__proto__"}',
        b'{"name": "x", "roles": ["viewer"], "name": "y"}',
        b'{"name": "x", "roles": ["viewer"], "\\u006eame": "x"}',
    ],
)
def test_invalid_body_is_refused_without_being_quoted(client: AsgiClient, token: str, world: World, raw: bytes) -> None:
    answer = client.send("POST", "/v1/tenants/acme/tokens", token=token, raw=[raw])
    assert answer.json["code"] in {"INVALID_REQUEST", "BAD_BODY"}, answer.body
    assert answer.status in {400, 422}
    assert len(answer.body) < 2000
    assert len(world.services.tokens.page(scope=ACME, limit=99)) == 6


def test_another_media_type_is_refused(client: AsgiClient, token: str) -> None:
    given = {"Content-Type": "text/plain"}
    answer = client.send("POST", "/v1/tenants/acme/tokens", token=token, raw=[b"{}"], headers=given)
    assert answer.status == 422


@pytest.mark.parametrize(
    ("method", "path", "said"),
    [
        ("DELETE", "/v1/tokens/x", "a token; `muster tokens list` shows them"),
        ("DELETE", "/v1/tenants/acme/tokens/x", "a token; `muster tokens list` shows them"),
        ("DELETE", "/v1/sessions/x", "a session; `GET /v1/sessions` shows them"),
        ("GET", "/v1/tenants/acme/uploads/x", "an upload; the answer that began it has its id"),
        ("PUT", "/v1/tenants/acme/uploads/x/completion", "an upload; the answer that began it has its id"),
        ("GET", "/v1/tenants/acme/operations/x", "an operation; the answer that began it has its id"),
    ],
)
def test_malformed_id_is_refused_with_a_hint(client: AsgiClient, token: str, method: str, path: str, said: str) -> None:
    assert client.send(method, path, token=token).json["detail"] == f"'x' is not the id of {said}"


def test_new_token_is_shown_once_and_valid(client: AsgiClient, token: str) -> None:
    made = client.send(
        "POST", "/v1/tenants/acme/tokens", token=token, body={"name": "ci", "roles": ["viewer"], "days": 7}
    )
    assert made.status == 201
    secret = made.json["secret"]
    me = client.get("/v1/me", token=secret).json
    assert (me["name"], me["token"]["token"], me["token"]["tenants"]) == (
        "acme-admin",
        made.json["token"],
        {"acme": ["viewer"]},
    )
    listed = client.get("/v1/tenants/acme/tokens", token=token)
    assert made.json["token"] in listed.body.decode()
    assert secret.split("_")[2] not in listed.body.decode()
    revoked = client.send("DELETE", f"/v1/tokens/{made.json['token']}", token=token)
    assert revoked.json["revoked_at"] is not None
    assert client.get("/v1/me", token=secret).json["code"] == "TOKEN_REVOKED"


@pytest.mark.parametrize("scope", [ACME, DEPLOYMENT])
def test_grants_change_only_with_the_current_etag(client: AsgiClient, world: World, scope: str) -> None:
    path = f"/v1/tenants/{scope}/grants" if scope else "/v1/grants"
    name = f"{scope or 'deployment'}-admin"
    admin = world.tokens[name].text.reveal()
    read = client.get(path, token=admin)
    body = {"items": [{"principal": world.principals[name], "roles": ["admin"]}]}
    assert client.send("PUT", path, token=admin, body=body).status == 428
    assert client.send("PUT", path, token=admin, body=body, headers={"If-Match": "*"}).status == 400
    seen = {"If-Match": read.headers["etag"]}
    changed = client.send("PUT", path, token=admin, body=body, headers=seen)
    assert changed.status == 200
    assert changed.headers["etag"] != read.headers["etag"]
    stale = client.send("PUT", path, token=admin, body=body, headers=seen)
    assert (stale.status, stale.json["code"]) == (412, "STALE_ETAG")
    now = {"If-Match": changed.headers["etag"]}
    last = client.send("PUT", path, token=admin, body={"items": []}, headers=now)
    assert (last.status, last.json["code"]) == (409, "LAST_ADMINISTRATOR")
    unknown = {"items": [*body["items"], {"principal": id_of(ACME, 99), "roles": ["operator"]}]}
    refused = client.send("PUT", path, token=admin, body=unknown, headers=now)
    assert (refused.status, refused.json["code"]) == (422, "NO_SUCH_PRINCIPAL")


@pytest.mark.parametrize(("method", "path"), [("GET", "principals/{}"), ("DELETE", "principals/{}/access")])
def test_unknown_principal_in_a_path_is_not_found(client: AsgiClient, world: World, method: str, path: str) -> None:
    admin = world.tokens["deployment-admin"].text.reveal()
    answer = client.send(method, "/v1/" + path.format(id_of(ACME, 99)), token=admin)
    assert (answer.status, answer.json["code"]) == (404, "UNKNOWN_PRINCIPAL")


@pytest.mark.parametrize(
    ("path", "body"),
    [("segments/buyers/checks", {}), ("queries", {"sql": "SELECT 1"}), ("query-streams", {"sql": "SELECT 1"})],
)
@pytest.mark.parametrize("wrong", [True, "5"])
def test_a_time_limit_is_a_number(
    client: AsgiClient, world: World, path: str, body: dict[str, object], wrong: object
) -> None:
    admin = world.tokens["acme-admin"].text.reveal()
    answer = client.send("POST", f"/v1/tenants/acme/{path}", token=admin, body={**body, "timeout_s": wrong})
    assert (answer.status, answer.json["code"]) == (422, "INVALID_REQUEST")


def test_catalog_outage_is_a_503_with_retry_after(
    client: AsgiClient, token: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object, **__: object) -> None:
        raise RetriableError("CATALOG_UNAVAILABLE", "the job catalog cannot be used: down")

    monkeypatch.setattr(type(world.services.audiences), "tenant_page", down)
    for path in ("/v1/health", "/v1/tenants"):
        answer = client.get(path, token=world.tokens["deployment-admin"].text.reveal())
        assert (answer.status, answer.json["code"]) == (503, "CATALOG_UNAVAILABLE")
        assert int(answer.headers["retry-after"]) > 0


def test_health_needs_no_token_and_shows_the_version(client: AsgiClient) -> None:
    answer = client.get("/v1/health")
    assert (answer.status, answer.json["status"]) == (200, "ok")


def test_duplicate_json_key_is_named(client: AsgiClient, token: str) -> None:
    twice = b'{"name": "x", "tenants": {"acme": ["viewer"], "acme": ["admin"]}}'
    answer = client.send("POST", MINE, token=token, raw=[twice])
    assert (answer.status, answer.json["code"]) == (400, "BAD_BODY")
    assert "'acme'" in answer.json["detail"]


@pytest.mark.parametrize("tenant", ["", "ACME", "../x", "a\0b", "x" * 64, "__proto__"])
def test_token_for_an_invalid_tenant_is_refused(client: AsgiClient, world: World, tenant: str) -> None:
    token = world.tokens["deployment-admin"].text.reveal()
    answer = client.send("POST", MINE, token=token, body={"name": "x", "tenants": {tenant: ["admin"]}})
    assert (answer.status, answer.json["code"]) == (422, "INVALID_REQUEST")
