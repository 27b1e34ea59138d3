"""Sessions of browsers: how they begin and end, and which pages may use them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import pytest

from orchestration.access import sessions
from orchestration.access.opaque import opaque_digest
from orchestration.access.sessions import begin_session
from orchestration.api.application import application
from orchestration.api.csrf import check_same_origin
from orchestration.api.own_paths import own_path
from orchestration.api.service import Service
from orchestration.api.site import Site
from orchestration.catalog.access_records import IDLE_MS, Session
from orchestration.platform.budget import Budget
from orchestration.platform.clock import now_ms
from schemas.errors import UserError
from tests.fakes.asgi import Answer, AsgiClient
from tests.fakes.tenants import ACME, BETA, World, id_of

ME, LOCAL = "/v1/me", "muster-18480"
OWN = {"Sec-Fetch-Site": "same-origin"}
HOUR_MS = 3600 * 1000


def cookie_of(answer: Answer) -> str:
    return answer.headers["set-cookie"].partition(";")[0]


def code_of(client: AsgiClient, world: World, caller: str = "acme-admin") -> str:
    made = client.send("POST", "/v1/console-codes", token=world.tokens[caller].text.reveal())
    assert made.status == 201
    return str(made.json["path"].partition("=")[2])


def log_in(client: AsgiClient, world: World, caller: str = "acme-admin", **query: str) -> Answer:
    return client.get("/login/code", query={"code": code_of(client, world, caller), **query})


def new_session(world: World, caller: str = "acme-admin") -> str:
    """The header Cookie of a new session."""
    owner = world.caller(caller).principal
    cookie = begin_session(world.services, owner, token_id=None, request_id=id_of(ACME, 99))
    return f"{LOCAL}={cookie.reveal()}"


def stored(world: World, cookie: str) -> Session:
    found = world.services.sessions.credentials(str(opaque_digest(cookie.partition("=")[2])))
    assert found
    return found.session


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets the clock of requests, in milliseconds from now."""

    def set_(after_ms: int) -> None:
        moment = now_ms() + after_ms
        for name in ("orchestration.api.service.now_ms", "orchestration.api.last_use.now_ms"):
            monkeypatch.setattr(name, lambda: moment)
        monkeypatch.setattr("orchestration.api.routes.login.now_ms", lambda: moment)

    return set_


def test_code_becomes_a_session_and_leaves_the_url(client: AsgiClient, world: World) -> None:
    answer = log_in(client, world, return_to="/jobs?state=FAILED")
    assert (answer.status, answer.headers["location"]) == (303, "/jobs?state=FAILED")
    flags = answer.headers["set-cookie"].split("; ")[1:]
    assert flags == ["Path=/", "Max-Age=86400", "HttpOnly", "SameSite=Lax"]
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    me = client.get(ME, headers={"Cookie": cookie_of(answer)}).json
    token = world.tokens["acme-admin"].token_id
    assert (me["name"], me["token"]["token"], me["session"]["made_by"]) == ("acme-admin", token, "token")
    own = client.get(ME, headers={"Cookie": new_session(world)}).json
    assert (own["token"], own["session"]["made_by"]) == (None, "login")


def test_https_cookie_is_bound_to_its_host(world: World) -> None:
    site = Site(url="https://muster.example")
    service = Service(services=world.services, hosts=frozenset({"muster.example"}), site=site)
    client = AsgiClient(application(service))
    token = world.tokens["acme-admin"].text.reveal()
    path = client.send("POST", "/v1/console-codes", token=token, host="muster.example").json["path"]
    answer = client.get("/login/code", query={"code": path.partition("=")[2]}, host="muster.example")
    assert answer.headers["set-cookie"].startswith("__Host-muster=")
    assert answer.headers["set-cookie"].endswith("; HttpOnly; SameSite=Lax; Secure")
    assert client.get(ME, headers={"Cookie": cookie_of(answer)}, host="muster.example").status == 200
    client.close()
    service.close()


def test_a_code_is_used_once_within_a_minute(client: AsgiClient, world: World, at: Callable[[int], None]) -> None:
    code = code_of(client, world)
    assert client.get("/login/code", query={"code": code}).status == 303
    again = client.get("/login/code", query={"code": code})
    assert (again.status, again.json["code"]) == (401, "CODE_REFUSED")
    assert code not in again.body.decode()
    late = code_of(client, world)
    at(60_000)
    assert client.get("/login/code", query={"code": late}).json["code"] == "CODE_REFUSED"
    for wrong in ("x" * 43, "", "x"):
        assert client.get("/login/code", query={"code": wrong}).json["code"] == "CODE_REFUSED"


def test_refused_address_does_not_consume_the_code(client: AsgiClient, world: World) -> None:
    code = code_of(client, world)
    assert client.get("/login/code", query={"code": code, "return_to": "//evil.example"}).status == 422
    cross = client.get("/login/code", query={"code": code}, headers={"Sec-Fetch-Site": "cross-site"})
    assert (cross.status, cross.json["code"]) == (403, "CROSS_ORIGIN")
    assert client.get("/login/code", query={"code": code}, headers={"Sec-Fetch-Site": "none"}).status == 303


def test_session_has_exactly_the_rights_of_its_token(client: AsgiClient, world: World) -> None:
    capped = world.add_token("acme-admin", {(ACME, "viewer")}, 1000)
    world.tokens["capped"] = capped
    cookie = {"Cookie": cookie_of(log_in(client, world, "capped"))}
    assert client.get("/v1/tenants/acme/jobs", headers=cookie).status == 200
    assert client.get("/v1/tenants/acme/grants", headers=cookie).json["code"] == "FORBIDDEN"
    wide = {"name": "x", "roles": ["admin"]}
    refused = client.send("POST", "/v1/tenants/acme/tokens", body=wide, headers={**cookie, **OWN})
    assert refused.json["code"] == "CAP_TOO_WIDE"


@pytest.mark.parametrize("by", ["token", "login"])
def test_a_session_cannot_renew_itself_by_a_code(client: AsgiClient, world: World, by: str) -> None:
    cookie = cookie_of(log_in(client, world)) if by == "token" else new_session(world)
    answer = client.send("POST", "/v1/console-codes", headers={"Cookie": cookie, **OWN})
    assert (answer.status, answer.json["code"]) == (403, "TOKEN_NEEDED")


@pytest.mark.parametrize("how", ["revoked", "expired", "narrowed", "forgotten"])
def test_token_session_ends_with_its_token(
    client: AsgiClient, world: World, at: Callable[[int], None], how: str
) -> None:
    token = world.add_token("acme-admin", {(ACME, "admin"), (BETA, "viewer")}, 1000, expires_at_ms=now_ms() + HOUR_MS)
    world.tokens["own"] = token
    cookie = {"Cookie": cookie_of(log_in(client, world, "own"))}
    assert client.get("/v1/tenants/acme/grants", headers=cookie).status == 200
    match how:
        case "revoked":
            world.services.tokens.revoke(token.token_id, now_ms=1)
        case "expired":
            at(HOUR_MS)
        case "narrowed":
            world.services.tokens.revoke_in(token.token_id, ACME, now_ms=1)
        case "forgotten":
            world.services.tokens.forget(now_ms() + 2 * HOUR_MS)
    answer = client.get("/v1/tenants/acme/grants", headers=cookie)
    assert answer.json["code"] == ("UNKNOWN_TENANT" if how == "narrowed" else "SESSION_ENDED")


def test_session_loses_rights_with_its_owner(client: AsgiClient, world: World) -> None:
    cookie = {"Cookie": new_session(world)}
    assert client.get("/v1/tenants/acme/grants", headers=cookie).status == 200
    world.services.principals.replace_grants(ACME, {}, now_ms=1, check=lambda *_: None)
    assert client.get("/v1/tenants/acme/grants", headers=cookie).status == 404


def test_session_expires_after_eight_idle_hours_or_a_day(
    client: AsgiClient, world: World, at: Callable[[int], None]
) -> None:
    idle, used = new_session(world), new_session(world)
    at(7 * HOUR_MS)
    assert client.get(ME, headers={"Cookie": used}).status == 200
    client.get(ME, headers={"Cookie": used})  # the note of the first was written meanwhile
    at(9 * HOUR_MS)
    answer = client.get(ME, headers={"Cookie": idle})
    assert (answer.status, answer.json["code"]) == (401, "SESSION_ENDED")
    for hours in (9, 16, 23):
        at(hours * HOUR_MS)
        assert client.get(ME, headers={"Cookie": used}).status == 200
        client.get(ME, headers={"Cookie": used})
    at(24 * HOUR_MS + 1000)
    assert client.get(ME, headers={"Cookie": used}).status == 401


def test_stream_check_does_not_extend_the_session(client: AsgiClient, world: World, service: Service) -> None:
    cookie = new_session(world)
    before = stored(world, cookie)
    from orchestration.api.service import Cookie  # noqa: PLC0415

    client._runner.run(service.identify(Cookie(cookie.partition("=")[2]), id_of(ACME, 99)))
    assert stored(world, cookie) == before


def test_logout_ends_the_session_and_clears_the_cookie(client: AsgiClient, world: World) -> None:
    cookie = new_session(world)
    assert client.send("POST", "/logout", headers={"Cookie": cookie}).json["code"] == "CROSS_ORIGIN"
    answer = client.send("POST", "/logout", headers={"Cookie": cookie, **OWN})
    assert answer.status == 204
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert client.get(ME, headers={"Cookie": cookie}).json["code"] == "SESSION_ENDED"


def test_login_ends_the_browsers_previous_session(client: AsgiClient, world: World) -> None:
    before = new_session(world, "acme-viewer")
    answer = client.get("/login/code", query={"code": code_of(client, world)}, headers={"Cookie": before})
    assert cookie_of(answer) != before
    assert client.get(ME, headers={"Cookie": before}).json["code"] == "SESSION_ENDED"


def test_principal_manages_only_own_sessions(client: AsgiClient, world: World) -> None:
    own, other = new_session(world), new_session(world, "acme-viewer")
    listed = client.get("/v1/sessions", headers={"Cookie": own}).json["items"]
    assert [one["session"] for one in listed] == [stored(world, own).session_id]
    path = f"/v1/sessions/{stored(world, other).session_id}"
    foreign = client.send("DELETE", path, headers={"Cookie": own, **OWN})
    assert (foreign.status, foreign.json["code"]) == (404, "UNKNOWN_SESSION")
    admin = world.tokens["deployment-admin"].text.reveal()
    assert client.send("DELETE", path, token=admin).status == 200
    assert client.get(ME, headers={"Cookie": other}).status == 401
    assert client.get("/v1/sessions", token=world.tokens["acme-viewer"].text.reveal()).json["items"] == []


def test_audit_trail_contains_the_session(client: AsgiClient, world: World) -> None:
    cookie = cookie_of(log_in(client, world))
    client.send(
        "POST", "/v1/tenants/acme/tokens", body={"name": "x", "roles": ["viewer"]}, headers={"Cookie": cookie, **OWN}
    )
    session = stored(world, cookie).session_id
    token = world.tokens["acme-admin"].token_id
    shown = {(e.action, e.session, e.token) for e in world.services.audit.search()}
    assert {("console", None, token), ("login", session, token), ("tokens create", session, token)} <= shown
    (entry,) = client.get("/v1/tenants/acme/audit", headers={"Cookie": cookie}).json["items"]
    assert entry["session"] == session


def test_catalog_stores_no_cookies_or_codes(client: AsgiClient, world: World) -> None:
    code, cookie = code_of(client, world), new_session(world)
    with world.services.database.read() as connection:
        dump = "\n".join(connection.connection.driver_connection.iterdump())  # type: ignore[union-attr]
    assert stored(world, cookie).digest in dump
    assert code not in dump
    assert cookie.partition("=")[2] not in dump


@pytest.mark.parametrize(
    "cookies",
    ["", "muster-18480=", "muster-18480=x", "muster-1=VALUE", "x=y", "muster-18480=VALUE; muster-18480=VALUE"],
)
def test_malformed_cookie_is_ignored(client: AsgiClient, world: World, cookies: str) -> None:
    value = new_session(world).partition("=")[2]
    assert client.get(ME, headers={"Cookie": cookies.replace("VALUE", value)}).status == 401
    assert client.get(ME, headers={"Cookie": f'a="b; c]; muster-18480={value}'}).status == 200


def test_token_precedes_cookie(client: AsgiClient, world: World) -> None:
    cookie, token = new_session(world), world.tokens["acme-viewer"].text.reveal()
    assert client.get(ME, token=token, headers={"Cookie": cookie}).json["name"] == "acme-viewer"
    assert client.get(ME, token="x", headers={"Cookie": cookie}).json["code"] == "BAD_TOKEN"


SITES: list[list[str]] = [
    [],
    ["same-origin"],
    ["none"],
    ["same-site"],
    ["cross-site"],
    [""],
    ["same-origin", "cross-site"],
]
ORIGINS: list[list[str]] = [
    [],
    ["http://127.0.0.1:18480"],
    ["HTTP://127.0.0.1:18480"],
    ["https://127.0.0.1:18480"],
    ["http://127.0.0.1"],
    ["http://127.0.0.1:18480.evil.example"],
    ["http://evil.example"],
    ["null"],
    [""],
    ["http://127.0.0.1:18480", "http://evil.example"],
]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("site", SITES, ids=str)
@pytest.mark.parametrize("origin", ORIGINS, ids=str)
def test_change_with_a_cookie_requires_an_own_page(method: str, site: list[str], origin: list[str]) -> None:
    own = "http://127.0.0.1:18480"
    allowed = (
        method in {"GET", "HEAD", "OPTIONS"}
        or site in (["same-origin"], ["none"])
        or (not site and origin in ([own], [own.replace("http", "HTTP")]))
    )
    with nullcontext() if allowed else pytest.raises(UserError, match="does not come from a page of the service"):
        check_same_origin(method, site=site, origin=origin, own=own)


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}, {}])
def test_foreign_page_changes_nothing(client: AsgiClient, world: World, headers: dict[str, str]) -> None:
    cookie, before = new_session(world), len(world.services.tokens.page(limit=99))
    sent = {"Cookie": cookie, **headers}
    answer = client.send("POST", "/v1/tenants/acme/tokens", body={"name": "x", "roles": ["viewer"]}, headers=sent)
    assert (answer.status, answer.json["code"]) == (403, "CROSS_ORIGIN")
    assert len(world.services.tokens.page(limit=99)) == before
    own = {"Cookie": cookie, "Origin": "http://127.0.0.1:18480"}
    made = client.send("POST", "/v1/tenants/acme/tokens", body={"name": "x", "roles": ["viewer"]}, headers=own)
    assert made.status == 201


@contextmanager
def limited(world: World, url: str = "http://127.0.0.1:18480") -> Iterator[AsgiClient]:
    service = Service(
        services=world.services,
        hosts=frozenset({"127.0.0.1"}),
        site=Site(url=url),
        logins=Budget(per_s=1 / 6, burst=10, clock=lambda: 0.0),
    )
    client = AsgiClient(application(service))
    yield client
    client.close()
    service.close()


def test_logins_are_limited_to_ten_a_minute_per_address(world: World) -> None:
    with limited(world) as client:
        answers = [client.get("/login/code", query={"code": "x"}) for _ in range(11)]
    assert [answer.status for answer in answers] == [401] * 10 + [429]


def test_proxied_client_address_is_the_one_added_by_the_proxy(world: World) -> None:
    def sent(client: AsgiClient, forwarded: str) -> int:
        return client.get("/login/code", query={"code": "x"}, headers={"X-Forwarded-For": forwarded}).status

    with limited(world, "https://muster.example") as client:
        assert [sent(client, f"{n}.1.1.1, 9.9.9.9") for n in range(11)] == [401] * 10 + [429]
        assert sent(client, "8.8.8.8") == 401
    with limited(world) as client:
        assert [sent(client, f"{n}.1.1.1") for n in range(11)][-1] == 429


@pytest.mark.parametrize("path", ["/", "/jobs", "/jobs?state=FAILED&x=%2F#a", "/a//b"])
def test_login_returns_to_an_own_path(path: str) -> None:
    assert own_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "jobs",
        "//evil.example",
        "/\\evil.example",
        "/a\\b",
        "\\\\evil",
        "https://evil.example",
        "/a\nb",
        "/a\tb",
        "/ä",
        "/ a",
        " /",
        "/\0",
    ],
)
def test_login_prevents_open_redirects(path: str) -> None:
    with pytest.raises(UserError) as refused:
        own_path(path)
    assert refused.value.code == "BAD_RETURN"


def test_lifetimes_match_the_docs() -> None:
    assert (IDLE_MS, sessions.LIFE_MS) == (8 * HOUR_MS, 24 * HOUR_MS)
