"""On loopback, pages and sessions have a host of their own: cookies know no ports."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.access.console_host import HOST_FILE, console_host, forget_console_host
from orchestration.access.sessions import begin_session
from orchestration.api.service import Service
from orchestration.api.site import Site
from orchestration.console.application import application, pages
from orchestration.platform.settings import Settings
from schemas.errors import UserError
from tests.fakes.asgi import Answer, AsgiClient
from tests.fakes.tenants import ACME, World, id_of

HOST = "q7" * 16 + ".localhost"
AT_HOST = f"{HOST}:18480"
OWN = {"Sec-Fetch-Site": "same-origin"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PATHS = ["/", "/console", "/console/login", "/console/tenants/acme/jobs", "/login", "/login/callback", "/login/code"]


@pytest.fixture
def client(world: World) -> Iterator[AsgiClient]:
    service = Service(
        services=world.services, hosts=frozenset({"127.0.0.1", "localhost"}), site=Site(url=f"http://{AT_HOST}")
    )
    made = AsgiClient(application(service))
    yield made
    made.close()
    service.close()


@pytest.fixture
def cookie(world: World) -> str:
    made = begin_session(
        world.services, world.caller("acme-admin").principal, token_id=None, request_id=id_of(ACME, 99)
    )
    return f"muster-18480={made.reveal()}"


def code_for(client: AsgiClient, world: World) -> tuple[str, str, str]:
    made = client.send("POST", "/v1/console-codes", token=world.tokens["acme-admin"].text.reveal()).json
    return made["path"].partition("=")[2], made["url"], made["confirm_url"]


def opened(client: AsgiClient, code: str, *, host: str = AT_HOST, site: str = "same-origin") -> Answer:
    headers = {**FORM, "Sec-Fetch-Site": site}
    return client.send("POST", "/console/open", raw=[f"code={code}".encode()], headers=headers, host=host)


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
@pytest.mark.parametrize("host", ["127.0.0.1:18480", "localhost:18480"])
@pytest.mark.parametrize("path", PATHS)
def test_foreign_host_gets_no_page_cookie_or_hint(
    client: AsgiClient, world: World, cookie: str, path: str, host: str, accept: str
) -> None:
    code, _, _ = code_for(client, world)
    answer = client.get(path, query={"code": code}, headers={"Cookie": cookie, "Accept": accept}, host=host)
    assert answer.status == 421
    assert "muster console" in answer.body.decode()
    assert HOST not in answer.body.decode() + str(answer.pairs)
    assert not {"location", "set-cookie"} & answer.headers.keys()


def test_pages_are_served_only_at_the_console_host(client: AsgiClient) -> None:
    for route in pages().routes:
        path = getattr(route, "path").replace("{", "").replace("}", "")  # noqa: B009  # any kind of route
        if "static" not in path:
            assert client.get(path).status == 421, path
    assert client.get("/console/static/missing").status == 404, "a page of an error needs its style"


def test_session_is_valid_only_at_the_console_host(client: AsgiClient, world: World, cookie: str) -> None:
    assert client.get("/v1/me", headers={"Cookie": cookie}, host=AT_HOST).status == 200
    for host in ("127.0.0.1:18480", "localhost:18480"):
        assert client.get("/v1/me", headers={"Cookie": cookie}, host=host).json["code"] == "NO_TOKEN"
        assert client.get("/v1/me", token=world.tokens["acme-admin"].text.reveal(), host=host).status == 200
    assert client.get("/v1/me", headers={"Cookie": cookie}, host=f"x{AT_HOST}").status == 421


def test_code_opens_the_console_only_at_its_host(client: AsgiClient, world: World) -> None:
    code, url, confirm = code_for(client, world)
    assert url == f"http://{AT_HOST}/login/code?code={code}"
    assert confirm == f"http://{AT_HOST}/console/open?code={code}"
    assert client.get("/login/code", query={"code": code}).status == 421
    assert opened(client, code, host="127.0.0.1:18480").status == 421
    answer = client.get("/login/code", query={"code": code}, host=AT_HOST)
    assert (answer.status, answer.headers["location"]) == (303, "/")
    assert "domain" not in answer.headers["set-cookie"].lower()


def test_linked_login_page_names_the_account_and_waits_for_a_click(client: AsgiClient, world: World) -> None:
    code, _, _ = code_for(client, world)
    foreign = {"Sec-Fetch-Site": "cross-site"}
    for _ in range(2):
        answer = client.get("/console/open", query={"code": code}, headers=foreign, host=AT_HOST)
        assert answer.status == 200
        assert "<strong>acme-admin</strong>" in answer.body.decode()
        assert "set-cookie" not in answer.headers
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["referrer-policy"] == "no-referrer"
    for site in ("cross-site", "same-site", ""):
        refused = opened(client, code, site=site)
        assert (refused.status, "set-cookie" in refused.headers) == (403, False)
        assert "CROSS_ORIGIN" in refused.body.decode()
    answer = opened(client, code)
    assert (answer.status, answer.headers["location"]) == (303, "/console")
    me = client.get("/v1/me", headers={"Cookie": answer.headers["set-cookie"].partition(";")[0]}, host=AT_HOST)
    assert me.json["name"] == "acme-admin"
    used = client.get("/console/open", query={"code": code}, host=AT_HOST)
    assert (used.status, "CODE_REFUSED" in used.body.decode()) == (401, True)
    assert opened(client, code).status == 401


def test_console_host_is_random_private_and_new_for_each_stack(tmp_path: Path) -> None:
    first = console_host(tmp_path)
    label, _, rest = first.partition(".")
    assert (len(label), rest) == (32, "localhost")
    assert label.isalnum()
    assert label == label.lower()
    assert console_host(tmp_path) == first
    file = tmp_path / HOST_FILE
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    forget_console_host(tmp_path)
    forget_console_host(tmp_path)
    assert console_host(tmp_path) != first


def test_unsaved_console_host_is_reported(tmp_path: Path) -> None:
    (tmp_path / "api").touch()
    with pytest.raises(UserError, match="api/console-host cannot be used") as refused:
        console_host(tmp_path)
    assert refused.value.code == "CONSOLE_HOST"


def test_public_address_is_the_console_host_and_required_for_logins() -> None:
    public = Settings(api_public_url="https://muster.example/", oidc_issuer="https://id.example")
    assert Site.of(public, None).url == "https://muster.example"
    assert Site.of(Settings(api_url="http://127.0.0.1:28480"), HOST).url == f"http://{HOST}:28480"
    with pytest.raises(UserError, match="setting api_public_url") as refused:
        Site.of(Settings(oidc_issuer="https://id.example"), HOST)
    assert refused.value.code == "BAD_SETTINGS"
