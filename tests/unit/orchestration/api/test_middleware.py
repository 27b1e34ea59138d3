"""What every request passes before it is routed."""

import logging
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from orchestration.api.application import application, routes
from orchestration.api.bodies import MAX_BODY_BYTES, MAX_PUBLIC_BODY_BYTES
from orchestration.api.middleware import Middleware
from orchestration.api.server import ImpatientProtocol, server
from orchestration.api.service import Service
from orchestration.platform.budget import Budget
from orchestration.platform.settings import Settings
from schemas.ids import JOB_ID_PATTERN
from tests.fakes.asgi import AsgiClient
from tests.fakes.tenants import World
from tests.servers.api import serving

ME = "/v1/me"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:18480", "MUSTER.example:443", "muster.example"])
def test_host_of_the_service_is_accepted(client: AsgiClient, host: str) -> None:
    assert client.get("/v1/health", host=host).status == 200


@pytest.mark.parametrize(
    "host",
    [None, "", "evil.example", "127.0.0.1.evil.example:18480", "127.0.0.1@evil.example", "[::1]", "[", "x:127.0.0.1"],
)
@pytest.mark.parametrize("path", [ME, "/v1/health", "/v1/openapi.json", "/"])
def test_foreign_host_is_refused_first(client: AsgiClient, token: str, host: str | None, path: str) -> None:
    answer = client.get(path, token=token, host=host)
    assert (answer.status, answer.json["code"]) == (421, "WRONG_HOST")


def test_duplicate_hosts_are_refused(client: AsgiClient, token: str) -> None:
    assert client.get(ME, token=token, headers={"Host": "127.0.0.1"}).status == 421


@pytest.mark.parametrize("scheme", ["Basic", "", "mst"])
def test_only_bearer_tokens_are_read(client: AsgiClient, token: str, scheme: str) -> None:
    answer = client.get(ME, headers={"Authorization": f"{scheme} {token}"})
    assert (answer.status, answer.json["code"]) == (401, "NO_TOKEN")


def test_duplicate_tokens_are_refused(client: AsgiClient, token: str) -> None:
    assert client.get(ME, token=token, headers={"Authorization": f"Bearer {token}"}).json["code"] == "NO_TOKEN"
    assert client.get(ME, headers={"Authorization": f"bearer  {token} "}).status == 200


def test_token_in_query_or_cookie_is_ignored(client: AsgiClient, token: str) -> None:
    assert client.get(ME, query={"access_token": token}).status == 401
    assert client.get(ME, headers={"Cookie": f"token={token}"}).status == 401


def test_body_of_an_unauthenticated_request_is_not_read(client: AsgiClient) -> None:
    answer = client.send("POST", "/v1/tokens", raw=[b"x" * MAX_BODY_BYTES, b"x"])
    assert (answer.status, answer.json["code"]) == (401, "NO_TOKEN")


@pytest.mark.parametrize("length", [str(MAX_BODY_BYTES + 1), "9" * 30, "-1", "x"])
def test_body_announced_as_too_large_is_not_read(client: AsgiClient, token: str, length: str) -> None:
    answer = client.send("POST", "/v1/tokens", token=token, raw=[b"{}"], headers={"Content-Length": length})
    assert (answer.status, answer.json["code"]) == (413, "BODY_TOO_LARGE")


def test_oversized_body_is_refused_despite_its_announced_length(client: AsgiClient, token: str) -> None:
    answer = client.send("POST", "/v1/tokens", token=token, raw=[b" " * MAX_BODY_BYTES, b"{}"])
    assert answer.status == 413


def test_truncated_body_changes_nothing(client: AsgiClient, token: str, world: World) -> None:
    whole = b'{"name": "x", "roles": ["viewer"]}'
    answer = client.send("POST", "/v1/tenants/acme/tokens", token=token, raw=[whole], cut_off=True)
    assert (answer.status, answer.json["code"]) == (400, "BODY_CUT_OFF")
    assert len(world.services.tokens.page(limit=99)) == len(world.tokens)


def test_body_of_exactly_the_limit_is_accepted(client: AsgiClient, token: str) -> None:
    answer = client.send("POST", "/v1/tokens", token=token, raw=[b" " * (MAX_BODY_BYTES - 1), b"1"])
    assert answer.json["code"] == "INVALID_REQUEST"


def test_missing_body_times_out(service: Service, token: str) -> None:
    client = AsgiClient(Middleware(routes(), service, body_timeout_s=0))
    answer = client.send("POST", "/v1/tokens", token=token, raw=[])
    client.close()
    assert (answer.status, answer.json["code"]) == (408, "BODY_TIMEOUT")


@pytest.mark.parametrize("path", [ME, "/v1/health", "/v1/tenants/beta/jobs", "/nothing"])
def test_every_answer_is_private_and_allows_no_other_origin(client: AsgiClient, token: str, path: str) -> None:
    answer = client.get(path, token=token, headers={"Origin": "https://evil.example"})
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert JOB_ID_PATTERN.fullmatch(answer.headers["x-request-id"])
    assert not [name for name in answer.headers if name.startswith("access-control")]
    preflight = client.send(
        "OPTIONS",
        path,
        headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"},
    )
    assert preflight.status in {401, 405}


def test_unknown_path_and_wrong_method_are_problems(client: AsgiClient, token: str) -> None:
    assert client.get("/nothing", token=token).json["code"] == "NO_SUCH_PATH"
    assert client.get("/nothing").json["code"] == "NO_TOKEN"
    answer = client.send("POST", ME, token=token)
    assert (answer.status, answer.json["code"], answer.headers["allow"]) == (405, "METHOD_NOT_ALLOWED", "GET")


def test_allow_names_every_method_of_the_path(client: AsgiClient, token: str) -> None:
    assert client.send("PUT", "/v1/tenants/acme/tokens", token=token).headers["allow"] == "GET, POST"
    assert client.send("POST", "/v1/tenants/acme/segments/buyers", token=token).headers["allow"] == "DELETE, GET, PUT"


@pytest.mark.parametrize("path", ["/v1/login-tokens", "/v1/health", "/v1/openapi.json", "/login", "/login/code"])
def test_unauthenticated_client_sends_at_most_a_few_kib(client: AsgiClient, path: str) -> None:
    most = MAX_PUBLIC_BODY_BYTES
    declared = client.send("POST", path, raw=[b"x"], cut_off=True, headers={"Content-Length": str(most + 1)})
    sent = client.send("POST", path, raw=[b"x" * 1024] * (most // 1024 + 1), cut_off=True)
    for answer in (declared, sent):
        assert (answer.status, answer.json["code"]) == (413, "BODY_TOO_LARGE")


@pytest.mark.parametrize("path", [ME, "/v1/login-tokens", "/nothing"])
def test_ambiguous_body_length_is_refused_on_the_wire(world: World, path: str) -> None:
    with serving(world) as url, socket.create_connection(("127.0.0.1", urlsplit(url).port), timeout=60) as client:
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.sendall(head.encode() + b"0\r\n\r\nGET /v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        received = b"".join(iter(lambda: client.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b"BAD_BODY" in received
    assert received.count(b"HTTP/1.1 ") == 1, "the rest is no request of its own"


def test_bug_is_an_opaque_problem_logged_with_the_request_id(
    client: AsgiClient, token: str, world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("with a secret")

    monkeypatch.setattr(type(world.services.audiences), "page", fail)
    answer = client.get("/v1/tenants/acme/audiences", token=token)
    assert (answer.status, answer.json["code"]) == (500, "INTERNAL")
    assert "secret" not in answer.body.decode()
    (record,) = [one for one in caplog.records if one.exc_info is not None]
    assert record.getMessage() == f"request {answer.headers['x-request-id']} failed"
    assert record.levelno == logging.ERROR


def test_log_has_one_line_per_request_without_tokens(
    client: AsgiClient, token: str, caplog: pytest.LogCaptureFixture, world: World
) -> None:
    with caplog.at_level(logging.INFO, "muster.api"):
        answer = client.get(ME, token=token)
    (line,) = [one.getMessage() for one in caplog.records]
    assert line.startswith("GET /v1/me 200 ")
    assert answer.headers["x-request-id"] in line
    assert world.principals["acme-admin"] in line
    assert token not in line


def test_requests_are_counted_by_operation_and_status(client: AsgiClient, token: str, service: Service) -> None:
    client.get(ME, token=token)
    client.get(ME)
    client.get("/v1/tenants/acme/jobs", token=token)
    found = service.counts.samples()
    samples = {(one.metric.name, one.labels): one.value for one in found}
    assert samples["muster_api_requests_total", ("get_me", "200")] == 1
    assert samples["muster_api_requests_total", ("none", "401")] == 1
    assert samples["muster_api_requests_total", ("list_jobs", "200")] == 1
    assert samples["muster_api_request_seconds", ("list_jobs",)] > 0
    assert [sum(one.counts) for one in found if one.labels == ("get_me",)] == [1]


def test_principal_beyond_its_rate_gets_retry_after(world: World, token: str) -> None:
    budget = Budget(burst=2, clock=lambda: 0.0)
    service = Service(services=world.services, hosts=frozenset({"127.0.0.1"}), budget=budget)
    client = AsgiClient(application(service))
    answers = [client.get(ME, token=token) for _ in range(3)]
    other = client.get(ME, token=world.tokens["acme-viewer"].text.reveal())
    client.close()
    service.close()
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[2].json["code"] == "TOO_MANY_REQUESTS"
    assert int(answers[2].headers["retry-after"]) >= 1
    assert other.status == 200


@pytest.mark.parametrize(("given", "head_s"), [("", 10), ("75", 75), ("3", 10)])
def test_idle_connection_outlives_the_proxys_timeout(
    given: str, head_s: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_HOME", str(tmp_path))
    if given:
        monkeypatch.setenv("MUSTER_API_KEEP_ALIVE_S", given)
    config = server(Settings.load(), routes()).config
    assert isinstance(config.http, type)
    assert issubclass(config.http, ImpatientProtocol)
    assert (config.http.head_timeout_s, config.timeout_keep_alive) == (head_s, int(given or 10))
