"""`muster login`, `tokens` and `grants` through the service, and the client's connection to it."""

import io
import json
import os
import re
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from muster.access import Access, find_access
from muster.client import Client
from muster.errors import ApiError
from muster.http_calls import HttpCalls
from muster.transport import HttpTransport
from orchestration.cli.exits import ExitCode
from orchestration.cli.main import main
from tests.fakes.tenants import ACME, World, make_world
from tests.servers.api import serving
from tests.servers.ports import free_port

pytestmark = pytest.mark.integration


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = make_world(tmp_path)
    yield made
    made.services.database.close()


@pytest.fixture
def url(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The service, with the token of acme's administrator in the environment."""
    monkeypatch.setenv("MUSTER_HOME", str(tmp_path / "no-home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with serving(world) as address:
        monkeypatch.setenv("MUSTER_API_URL", address)
        be(world, "acme-admin", monkeypatch)
        yield address


def be(world: World, caller: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go on as another principal."""
    monkeypatch.setenv("MUSTER_TOKEN", world.tokens[caller].text.reveal())


def answer(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    """The JSON that a command prints."""
    capsys.readouterr()
    assert main([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


@pytest.mark.usefixtures("url")
def test_token_is_created_shown_once_listed_and_revoked(capsys: pytest.CaptureFixture[str], world: World) -> None:
    capsys.readouterr()
    assert main(["tokens", "create", "laptop", "--role", "viewer", "--days", "3"]) == 0
    printed = capsys.readouterr()
    secret = printed.out.strip()
    assert secret.startswith("mst_")
    assert secret not in printed.err
    token = secret.split("_")[1]
    assert [one["name"] for one in answer(capsys, "tokens", "list")] == ["laptop", "of acme-admin"]
    assert answer(capsys, "tokens", "revoke", token)["revoked_at"] is not None
    assert len(answer(capsys, "tokens", "list", "--tenant", "acme")) == 7
    main(["tokens", "list"])
    assert secret.split("_")[2] not in capsys.readouterr().out
    actions = [(entry.action, entry.principal) for entry in world.services.audit.search()]
    assert actions == [(f"tokens {word}", world.principals["acme-admin"]) for word in ("create", "revoke")]


@pytest.mark.usefixtures("url")
def test_a_token_for_a_service_account_and_its_roles_come_from_an_administrator(
    capsys: pytest.CaptureFixture[str], world: World
) -> None:
    account = world.principals["acme-operator"]
    made = answer(capsys, "tokens", "create", "loader", "--role", "operator", "--for", account)
    assert (made["principal"], made["tenants"]) == (account, {"acme": ["operator"]})
    changed = answer(capsys, "grants", "set", account, "--role", "viewer", "--role", "operator")
    roles = {one["principal"]: one["roles"] for one in changed["grants"]}
    assert roles[account] == ["operator", "viewer"]
    assert len(roles) == 5
    gone = answer(capsys, "grants", "set", account)
    assert account not in {one["principal"] for one in gone["grants"]}
    assert answer(capsys, "grants", "list") == gone
    refused = answer(capsys, "grants", "set", world.principals["acme-admin"], code=ExitCode.USER_ERROR)
    assert refused["error"]["code"] == "LAST_ADMINISTRATOR"


@pytest.mark.usefixtures("url")
def test_refused_caller_learns_which_roles_suffice(
    capsys: pytest.CaptureFixture[str], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    be(world, "acme-viewer", monkeypatch)
    refused = answer(capsys, "grants", "list", code=ExitCode.USER_ERROR)["error"]
    assert (refused["code"], refused["kind"], refused["detail"]["roles"]) == ("FORBIDDEN", "user", ["admin"])
    assert answer(capsys, "grants", "create", "x", code=ExitCode.USER_ERROR)["error"]["code"] == "FORBIDDEN"
    foreign = answer(capsys, "grants", "list", "--tenant", "beta", code=ExitCode.USER_ERROR)
    assert foreign["error"]["code"] == "UNKNOWN_TENANT"


@pytest.mark.usefixtures("url")
def test_tenant_is_required_with_several_tenants(
    capsys: pytest.CaptureFixture[str], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    be(world, "deployment-admin", monkeypatch)
    refused = answer(capsys, "grants", "list", code=ExitCode.USER_ERROR)["error"]
    assert (refused["code"], refused["detail"]["tenants"]) == ("NO_TENANT", ["acme", "beta"])
    assert answer(capsys, "grants", "list", "--deployment")["scope"] == "the deployment"
    made = answer(capsys, "grants", "create", "loader", "--service")
    assert (made["kind"], made["name"]) == ("service", "loader")


def test_login_saves_a_valid_token(
    url: str, world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = world.tokens["acme-viewer"].text.reveal()
    for name in ("MUSTER_TOKEN", "MUSTER_API_URL"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "stdin", io.StringIO("mst_wrong\n"))
    assert main(["login", url]) == ExitCode.USER_ERROR
    with pytest.raises(ApiError):
        find_access()
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{secret}\n"))
    assert main(["login", url]) == 0
    printed = capsys.readouterr()
    assert "you are acme-viewer" in printed.out
    assert secret not in printed.out + printed.err
    assert find_access() == Access(url=url, token=secret)
    assert len(answer(capsys, "tokens", "list")) == 1
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    assert main(["login", url]) == ExitCode.USER_ERROR
    assert main(["login", "http://muster.example"]) == ExitCode.USER_ERROR


def test_command_without_a_service_explains_the_remedy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MUSTER_HOME", str(tmp_path))
    monkeypatch.setenv("MUSTER_API_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("MUSTER_TOKEN", "mst_x")
    refused = answer(capsys, "tokens", "list", code=ExitCode.SYSTEM_ERROR)["error"]
    assert (refused["code"], refused["kind"]) == ("API_UNREACHABLE", "retriable")
    assert "muster up" in refused["message"]


def test_service_command_loads_no_catalog_or_forms(url: str, world: World, tmp_path: Path) -> None:
    script = (
        "import sys; from orchestration.cli.main import main; code = main(['tokens', 'list', '--json']); "
        "print([m for m in ('sqlalchemy', 'boto3', 'fastapi', 'numpy', 'rich') if m in sys.modules], file=sys.stderr); "
        "sys.exit(code)"
    )
    env = {
        "PATH": os.environ["PATH"],
        "MUSTER_HOME": str(tmp_path),
        "MUSTER_API_URL": url,
        "MUSTER_TOKEN": world.tokens["acme-viewer"].text.reveal(),
    }
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr.strip() == "[]"


class OneAnswer:
    """A server that answers each connection once, with fixed bytes, and then closes it. `requests`: what it got."""

    def __init__(self, *answers: bytes) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: list[bytes] = []
        self._thread = threading.Thread(target=self._serve, args=answers)
        self._thread.start()

    def _serve(self, *answers: bytes) -> None:
        for one in answers:
            connection, _ = self._listener.accept()
            with connection:
                self.requests.append(connection.recv(65536))
                connection.sendall(one)

    def close(self) -> None:
        self._thread.join(20)
        self._listener.close()


def ok(body: bytes = b"{}") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def test_read_is_repeated_after_an_idle_connection_closed() -> None:
    server = OneAnswer(ok(), ok(b'{"a": 1}'))
    transport = HttpTransport(server.url)
    assert transport.send("GET", "/a", {}, None)[2] == b"{}"
    assert transport.send("GET", "/b", {}, None)[2] == b'{"a": 1}'
    transport.close()
    server.close()


def test_change_is_not_repeated() -> None:
    server = OneAnswer(b"")
    transport = HttpTransport(server.url)
    with pytest.raises(ApiError) as lost:
        transport.send("POST", "/b", {}, b"{}")
    assert lost.value.code == "API_UNREACHABLE"
    transport.close()
    server.close()
    assert len(server.requests) == 1


def test_change_opens_a_new_connection_after_an_idle_one_closed() -> None:
    server = OneAnswer(ok(), ok(b'{"a": 1}'))
    transport = HttpTransport(server.url)
    transport.send("GET", "/a", {}, None)
    assert select.select([transport._connection.sock], [], [], 20)[0], "closed by the server"
    assert transport.send("POST", "/b", {}, b"{}")[2] == b'{"a": 1}'
    transport.close()
    server.close()


def test_a_redirect_is_not_followed() -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    server = OneAnswer(moved)
    transport = HttpTransport(server.url)
    with pytest.raises(ApiError) as refused:
        HttpCalls(transport, None).call("GET", "/me")
    transport.close()
    server.close()
    assert (refused.value.code, refused.value.status) == ("NOT_MUSTER", 302)


@pytest.mark.usefixtures("url")
def test_documented_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    example, _ = re.findall(r"```python\n(.*?)```", page, re.DOTALL)  # the other one runs in `whole/test_service`
    exec(example.replace('"default"', '"acme"'), {})  # our own documentation
    assert capsys.readouterr().out.split()[1] == "EMPTY_FILE"


def test_the_client_reads_from_the_service(url: str, world: World) -> None:
    with Client(Access(url=url, token=world.tokens["acme-viewer"].text.reveal())) as client:
        assert [tenant["tenant"] for tenant in client.tenants()] == [ACME]
        assert len(list(client.jobs(ACME))) == 4
