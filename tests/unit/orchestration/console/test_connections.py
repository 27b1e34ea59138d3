"""The page of connections: its snippets run, hold no key, and offer what the reader may do."""

import html
import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
import typer

import muster
from muster import Access, Client
from orchestration.access.policy import IN_A_TENANT
from orchestration.cli.main import app
from orchestration.console.pages.connections import snippets_of
from orchestration.operations.connecting import FORMS
from tests.fakes.asgi import AsgiClient, AsgiTransport
from tests.fakes.tenants import World
from tests.unit.orchestration.console.test_segments import send

URL = "http://127.0.0.1:18480"
PAGE = "/console/tenants/acme/connections"


def snippets(role: str) -> dict[str, str]:
    permitted = frozenset(action for action, roles in IN_A_TENANT.items() if role in roles)
    return {one.tool: one.text for one in snippets_of(URL, "acme", permitted)}


def test_only_deployment_operators_see_kafka_and_store(client: AsgiClient, world: World) -> None:
    for caller, names in (("acme-admin", 5), ("deployment-admin", 12)):
        text = html.unescape(send(client, world, PAGE, caller=caller).body.decode())
        assert len(re.findall(r'data-copy="snippet-\w+"', text)) == names
        assert (world.settings.s3_endpoint in text, "KAFKA_BOOTSTRAP" in text) == (names > 5, names > 5)
        assert world.settings.s3_secret_key.reveal() not in text.replace('"S3_SECRET"', "").replace(
            "client_secret", ""
        ) or (world.settings.s3_secret_key.reveal() == "secret")


def test_page_matches_the_api(client: AsgiClient, world: World) -> None:
    token = world.tokens["deployment-operator"].text.reveal()
    found = client.get("/v1/connections", token=token, query={"tenant": "acme"}).json
    assert found["addresses"]["s3"] == world.settings.s3_endpoint
    assert [one["tool"] for one in found["snippets"]] == list(FORMS)
    page = html.unescape(send(client, world, PAGE, caller="deployment-admin").body.decode())
    assert all(one["text"] in page for one in found["snippets"])
    assert client.get("/v1/connections", token=token, query={"tenant": "../x"}).json["code"] == "BAD_NAME"
    assert "AUDIENCE --tenant TENANT" in client.get("/v1/connections", token=token).body.decode()


@pytest.mark.parametrize(("role", "imports", "queries"), [("viewer", 0, 0), ("analyst", 0, 1), ("operator", 1, 0)])
def test_snippets_match_the_role(role: str, imports: int, queries: int) -> None:
    found = snippets(role)
    assert (found["cli"].count("muster import"), int("files" in found)) == (imports, imports)
    assert [found[name].count("SELECT") for name in ("cli", "curl", "python")] == [queries] * 3


def test_python_snippet_runs(
    client: AsgiClient, world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MUSTER_TOKEN", world.tokens["acme-admin"].text.reveal())

    @contextmanager
    def inside(access: Access) -> Iterator[Client]:
        yield Client(access, AsgiTransport(client))

    monkeypatch.setattr(muster, "Client", inside)
    text = snippets("admin")["python"].replace("SELECT count(*) FROM audience('vip')", "FROM vip")
    exec(compile(text, "snippet", "exec"), {})
    assert capsys.readouterr().out.endswith("[['plain']]\n")


def test_curl_snippets_are_valid_requests(client: AsgiClient, world: World) -> None:
    token = world.tokens["acme-admin"].text.reveal()
    header, *requests = snippets("admin")["curl"].replace("\\\n", "").splitlines()
    assert header == '(umask 077; echo "Authorization: Bearer $MUSTER_TOKEN" > muster-token-header)'
    for words, body in zip(map(shlex.split, requests), (None, "sql"), strict=True):
        assert words[:2] == ["curl", "--fail-with-body"]
        assert words[2:4] == ["-H", "@muster-token-header"]
        assert words[-1].startswith(URL)
        path = urlsplit(words[-1]).path
        if body is None:
            assert client.get(path, token=token).status == 200
        else:
            sent = json.loads(words[words.index("-d") + 1])
            assert sent == {"sql": "SELECT count(*) FROM audience('vip')"}
            assert client.send("POST", path, token=token, body={"sql": "FROM vip"}).status == 200


def test_command_line_snippets_are_valid_commands() -> None:
    root = typer.main.get_command(app)
    found = snippets("admin")
    for line in (*found["cli"].splitlines(), found["files"].splitlines()[0]):
        command, words = root, shlex.split(line)[1:]
        while (inner := getattr(command, "commands", {}).get(words[0])) is not None:
            command, words = inner, words[1:]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, line
        assert command is not root
