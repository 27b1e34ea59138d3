"""Logins through a real identity provider, from the first redirect to the session."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import urlopen

import pytest

from muster.browser_login import browser_login
from muster.errors import ApiError
from orchestration.access.oidc.pkce import challenge_of
from orchestration.access.oidc.provider import Provider
from orchestration.access.oidc.settings import OidcSettings
from orchestration.api.application import application
from orchestration.api.service import Service
from orchestration.platform.budget import Budget
from orchestration.platform.settings import Secret, Settings
from schemas.ids import JobId
from tests.fakes.asgi import Answer, AsgiClient
from tests.fakes.catalog import without_fsync
from tests.fakes.tenants import ACME, World, make_world
from tests.servers.identity_provider import SECRET, IdentityProvider, identity_provider

pytestmark = pytest.mark.integration
ME, BACK = "/v1/me", "http://127.0.0.1:18480/login/callback"
GRANTS = '{"admins": {"deployment": ["admin"]}, "acme analysts": {"tenants": {"acme": ["analyst", "operator"]}}}'
VERIFIER = "v" * 43


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityProvider]:
    with identity_provider(tmp_path_factory.mktemp("provider"), BACK) as made:
        yield made


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with without_fsync():
        made = make_world(tmp_path)
        yield made
        made.services.database.close()


@contextmanager
def serving(
    world: World, provider: IdentityProvider, algorithm: str = "RS256", secret: str = SECRET
) -> Iterator[AsgiClient]:
    settings = Settings(
        oidc_issuer=provider.issuer,
        oidc_client_id=f"muster-{algorithm}",
        oidc_client_secret=Secret(secret),
        oidc_grants=GRANTS,
        oidc_scopes="openid profile groups",
    )
    oidc = OidcSettings.of(settings)
    assert oidc
    service = Service(
        services=world.services,
        hosts=frozenset({"127.0.0.1"}),
        logins=Budget(burst=10**6),
        provider=Provider(oidc),
    )
    client = AsgiClient(application(service))
    yield client
    client.close()
    service.close()


@pytest.fixture
def client(world: World, provider: IdentityProvider) -> Iterator[AsgiClient]:
    with serving(world, provider) as made:
        yield made


def begun(client: AsgiClient, **query: str) -> Answer:
    answer = client.get("/login", query=query)
    assert answer.status == 303, answer.body
    return answer


def cookies(answer: Answer) -> list[str]:
    return [value.partition(";")[0] for name, value in answer.pairs if name == "set-cookie"]


def come_back(client: AsgiClient, url: str, cookie: str | None, **changes: str | None) -> Answer:
    """Follow the provider's redirect, with other parameters."""
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()} | changes
    given = {name: value for name, value in query.items() if value is not None}
    return client.get("/login/callback", query=given, headers={"Cookie": cookie} if cookie else {})


def log_in(client: AsgiClient, provider: IdentityProvider, user: str, **query: str) -> Answer:
    first = begun(client, **query)
    return come_back(client, provider.log_in(first.headers["location"], user), cookies(first)[0])


def me(client: AsgiClient, answer: Answer) -> dict[str, object]:
    (session,) = [cookie for cookie in cookies(answer) if not cookie.startswith("muster-18480-login")]
    found = client.get(ME, headers={"Cookie": session})
    assert found.status == 200, found.body
    return dict(found.json)


def test_login_makes_a_session_with_group_rights(client: AsgiClient, provider: IdentityProvider) -> None:
    provider.put_groups({"ana": ["acme analysts", "others"]})
    answer = log_in(client, provider, "ana", return_to="/jobs?x=1")
    assert (answer.status, answer.headers["location"]) == (303, "/jobs?x=1")
    found = me(client, answer)
    assert (found["name"], found["kind"], found["session"]["made_by"]) == ("ana@acme", "person", "login")  # type: ignore[index]
    assert found["rights"]["tenants"].keys() == {"acme"}  # type: ignore[index]
    assert "run_jobs" in found["rights"]["tenants"]["acme"]  # type: ignore[index]


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
def test_every_allowed_algorithm_is_checked(world: World, provider: IdentityProvider, algorithm: str) -> None:
    with serving(world, provider, algorithm) as client:
        assert me(client, log_in(client, provider, "bob"))["name"] == "bob@acme"


def test_group_grants_the_first_administrators(client: AsgiClient, provider: IdentityProvider, world: World) -> None:
    provider.put_groups({"eve": ["admins"]})
    rights = me(client, log_in(client, provider, "eve"))["rights"]
    assert "manage_deployment" in rights["deployment"]  # type: ignore[index]
    token = world.tokens["deployment-admin"].text.reveal()
    (shown,) = [one for one in client.get("/v1/grants", token=token).json["items"] if one["name"] == "eve@acme"]
    assert (shown["roles"], shown["group_roles"]) == ([], ["admin"])


def test_leaving_a_group_removes_its_roles_at_the_next_login_and_keeps_manual_ones(
    client: AsgiClient, provider: IdentityProvider, world: World
) -> None:
    provider.put_groups({"ana": ["acme analysts"]})
    principal = JobId(str(me(client, log_in(client, provider, "ana"))["principal"]))
    given = {JobId(one.principal): one.roles for one in world.services.principals.grants(ACME).items if one.roles}
    world.services.principals.replace_grants(
        ACME,
        {**given, principal: ("viewer",)},
        now_ms=1,
        check=lambda *_: None,
    )
    provider.put_groups({})
    again = me(client, log_in(client, provider, "ana"))
    assert again["principal"] == principal
    assert again["rights"]["tenants"] == {"acme": ["own_account", "read", "read_jobs"]}  # type: ignore[index]


def test_identity_is_issuer_and_subject_not_the_name(
    client: AsgiClient, provider: IdentityProvider, world: World
) -> None:
    owner = world.caller("acme-admin").principal
    with world.services.database.write() as connection:
        connection.exec_driver_sql("UPDATE principals SET name = 'ana@acme' WHERE principal_id = ?", (owner.principal,))
    provider.put_groups({})
    found = me(client, log_in(client, provider, "ana"))
    assert found["principal"] != owner.principal
    assert str(found["name"]).startswith("ana@acme ")
    assert found["rights"]["tenants"] == {}  # type: ignore[index]


def test_provider_answer_is_accepted_once_from_its_browser(client: AsgiClient, provider: IdentityProvider) -> None:
    first, other = begun(client), begun(client)
    url, cookie = provider.log_in(first.headers["location"], "ana"), cookies(first)[0]
    for refused in (
        come_back(client, url, None),
        come_back(client, url, cookies(other)[0]),
        come_back(client, url, cookie, state="x" * 43),
        come_back(client, url, cookie, state=None),
        come_back(client, url, cookie, state=""),
    ):
        assert (refused.status, refused.json["code"]) == (401, "LOGIN_REFUSED")
        assert "set-cookie" not in refused.headers
    assert come_back(client, url, cookie).status == 303
    again = come_back(client, url, cookie)
    assert (again.status, again.json["code"]) == (401, "LOGIN_REFUSED")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"iss": "https://evil.example"}, "another issuer"),
        ({"iss": None}, "another issuer"),
        ({"code": None}, "no code"),
        ({"code": "x" * 43}, "refuses the code"),
        ({"error": "access_denied", "code": None}, "access_denied"),
        ({"error": "<script>", "code": None}, "it denies the login"),
    ],
)
def test_foreign_provider_answer_is_refused(
    client: AsgiClient, provider: IdentityProvider, changes: dict[str, str | None], why: str
) -> None:
    first = begun(client)
    url = provider.log_in(first.headers["location"], "ana")
    answer = come_back(client, url, cookies(first)[0], **changes)
    assert (answer.status, answer.json["code"]) == (401, "LOGIN_REFUSED")
    assert why in answer.json["detail"]
    assert come_back(client, url, cookies(first)[0]).status == 401


def test_a_code_of_another_login_is_refused(client: AsgiClient, provider: IdentityProvider) -> None:
    """PKCE: the code was bound to the other login's verifier."""
    first, second = begun(client), begun(client)
    urls = [provider.log_in(one.headers["location"], "ana") for one in (first, second)]
    code = parse_qs(urlsplit(urls[0]).query)["code"][0]
    answer = come_back(client, urls[1], cookies(second)[0], code=code)
    assert (answer.status, answer.json["code"]) == (401, "LOGIN_REFUSED")


def test_credentials_refused_by_the_provider_are_reported(world: World, provider: IdentityProvider) -> None:
    with serving(world, provider, secret="wrong") as client:
        answer = log_in(client, provider, "ana")
    assert "Muster's credentials" in answer.json["detail"]


def test_provider_request_has_pkce_state_and_nonce(client: AsgiClient, provider: IdentityProvider) -> None:
    first = begun(client)
    query = parse_qs(urlsplit(first.headers["location"]).query)
    assert first.headers["location"].startswith(provider.issuer)
    assert query["code_challenge_method"] == ["S256"]
    assert query["redirect_uri"] == [BACK]
    assert {len(query[name][0]) for name in ("state", "nonce", "code_challenge")} == {43}
    assert cookies(first) == [f"muster-18480-login={query['state'][0]}"]


def test_foreign_return_address_is_refused_before_the_login(client: AsgiClient) -> None:
    for path in ("//evil.example", "https://evil.example", "/\\evil"):
        assert client.get("/login", query={"return_to": path}).json["code"] == "BAD_RETURN"


def test_login_requires_a_provider(world: World) -> None:
    service = Service(services=world.services, hosts=frozenset({"127.0.0.1"}))
    client = AsgiClient(application(service))
    for path in ("/login", "/login/callback"):
        assert (client.get(path).status, client.get(path).json["code"]) == (404, "NO_IDENTITY_PROVIDER")
    client.close()
    service.close()


def test_program_redeems_its_code_for_a_twelve_hour_token(client: AsgiClient, provider: IdentityProvider) -> None:
    provider.put_groups({"ana": ["acme analysts"]})
    asked = {"port": "9999", "challenge": challenge_of(VERIFIER), "state": "s" * 43}
    answer = log_in(client, provider, "ana", **asked)
    to = urlsplit(answer.headers["location"])
    query = {name: values[0] for name, values in parse_qs(to.query).items()}
    assert (to.scheme, to.netloc, to.path, query["state"]) == ("http", "127.0.0.1:9999", "/", "s" * 43)
    assert cookies(answer) == ["muster-18480-login=ended"]
    given = {"code": query["code"], "verifier": VERIFIER}
    made = client.send("POST", "/v1/login-tokens", body=given)
    assert made.status == 201, made.body
    assert made.json["tenants"] == {"acme": ["analyst", "operator"]}
    shown = client.get(ME, token=made.json["secret"]).json
    assert (shown["name"], shown["token"]["name"]) == ("ana@acme", "muster login")
    again = client.send("POST", "/v1/login-tokens", body=given)
    assert (again.status, again.json["code"]) == (401, "CODE_REFUSED")


def test_code_of_another_program_is_refused(client: AsgiClient, provider: IdentityProvider) -> None:
    provider.put_groups({"ana": ["acme analysts"]})
    asked = {"port": "9999", "challenge": challenge_of(VERIFIER), "state": "s" * 43}
    answer = log_in(client, provider, "ana", **asked)
    code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]
    for verifier in ("w" * 43, "", "v"):
        refused = client.send("POST", "/v1/login-tokens", body={"code": code, "verifier": verifier})
        assert refused.json["code"] == "CODE_REFUSED"
    console = client.get("/login/code", query={"code": code})
    assert console.json["code"] == "CODE_REFUSED"


def test_foreign_page_cannot_request_a_token(client: AsgiClient) -> None:
    asked = {"port": "9999", "challenge": challenge_of(VERIFIER), "state": "s" * 43}
    answer = client.get("/login", query=asked, headers={"Sec-Fetch-Site": "cross-site"})
    assert (answer.status, answer.json["code"]) == (403, "CROSS_ORIGIN")
    assert client.get("/login", query={"port": "9999"}).json["code"] == "INCOMPLETE_LOGIN"
    for wrong in ({"port": "80"}, {"challenge": "x"}, {"state": "x y" * 15}):
        assert client.get("/login", query={**asked, **wrong}).json["code"] == "INVALID_REQUEST"


def test_provider_outage_is_a_503(world: World, provider: IdentityProvider) -> None:
    gone = IdentityProvider("http://127.0.0.1:9", BACK, provider.groups_file)
    with serving(world, gone) as client:
        answer = client.get("/login")
    assert (answer.status, answer.json["code"]) == (503, "IDENTITY_PROVIDER_FAILED")


def test_codes_and_tokens_are_not_logged(
    client: AsgiClient, provider: IdentityProvider, caplog: pytest.LogCaptureFixture
) -> None:
    first = begun(client)
    url = provider.log_in(first.headers["location"], "ana")
    with caplog.at_level("DEBUG"):
        come_back(client, url, cookies(first)[0])
    code = parse_qs(urlsplit(url).query)["code"][0]
    assert code not in caplog.text
    assert urlencode({"state": cookies(first)[0].partition("=")[2]}) not in caplog.text


class Transport:
    """Requests of the client to the service in this process."""

    def __init__(self, asgi: AsgiClient) -> None:
        self._asgi = asgi

    def send(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> Any:
        assert "Authorization" not in headers
        answer = self._asgi.send(method, target, raw=None if body is None else [body])
        return answer.status, answer.headers, answer.body

    def stream(self, *_: Any) -> Any:
        raise NotImplementedError

    def close(self) -> None:
        pass


def test_the_command_line_logs_in_through_the_browser(client: AsgiClient, provider: IdentityProvider) -> None:
    provider.put_groups({"ana": ["acme analysts"]})
    answers: list[tuple[int, bytes]] = []

    def browse(url: str) -> None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        back = log_in(client, provider, "ana", **query).headers["location"]
        for to in (back.replace("state=", "state=x"), back.partition("?")[0] + "favicon.ico", back):
            try:
                with urlopen(to) as answer:
                    answers.append((answer.status, answer.read()))
            except HTTPError as exc:
                answers.append((exc.code, b""))

    def opened(url: str) -> None:
        assert url.startswith("http://127.0.0.1:18480/login?port=")
        thread.append(threading.Thread(target=browse, args=(url,)))
        thread[0].start()

    thread: list[threading.Thread] = []
    access = browser_login("http://127.0.0.1:18480/", opened, transport=Transport(client))
    thread[0].join()
    assert [status for status, _ in answers] == [404, 404, 200]
    assert b"close this page" in answers[2][1]
    assert access.url == "http://127.0.0.1:18480"
    assert client.get(ME, token=access.token).json["name"] == "ana@acme"


def test_unused_login_expires() -> None:
    with pytest.raises(ApiError) as refused:
        browser_login("http://127.0.0.1:18480", lambda _: None, patience_s=0)
    assert refused.value.code == "LOGIN_TIMEOUT"
    with pytest.raises(ApiError) as insecure:
        browser_login("http://muster.example", lambda _: None)
    assert insecure.value.code == "BAD_URL"
