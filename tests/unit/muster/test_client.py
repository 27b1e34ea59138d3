"""The client against the service itself, in this process."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from inspect import signature
from itertools import takewhile
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit
from urllib.request import urlopen

import pytest

from muster.access import Access
from muster.api_methods import ApiMethods
from muster.browser_login import browser_login
from muster.client import Client
from muster.errors import ApiError
from muster.events import PAUSES_S, follow
from muster.http_calls import WAITS
from muster.proof import PATH as PROOF_PATH
from muster.transport import Answer
from muster.versions import check_version
from orchestration.api.application import VIEWS
from orchestration.api.endpoints import endpoints_of
from orchestration.api.problems import RETRY_AFTER_S
from orchestration.api.service import Service
from schemas import job_kinds
from tests.fakes.asgi import AsgiClient, AsgiTransport
from tests.fakes.tenants import ACME, DOWNLOAD, EXPORT, FAILED_JOB, JOB, World, id_of
from tests.unit.orchestration.api.operations import DOCUMENT, OPERATIONS

URL = "http://127.0.0.1:18480"
GENERATED = {one.client: OPERATIONS[one.name] for view, _ in VIEWS for one in endpoints_of(view)}
RENAMED = {"import": "imports"}
"""Members of bodies that are words of Python."""


@pytest.fixture
def transport(client: AsgiClient) -> AsgiTransport:
    return AsgiTransport(client)


def muster(world: World, transport: AsgiTransport, caller: str = "acme-admin") -> Client:
    return Client(Access(url=URL, token=world.tokens[caller].text.reveal()), transport)


class Recorder:
    """A transport that answers whatever a method reads. `sent`: the requests."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, Mapping[str, str], Any]] = []

    def send(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        self.sent.append((method, target, headers, body and json.loads(body)))
        return 200, {"etag": "tag"}, b'{"items": [], "next": null}'

    def stream(self, *_: Any) -> Any:
        raise NotImplementedError

    def close(self) -> None:
        pass


@pytest.mark.parametrize("name", [name for name in vars(ApiMethods) if not name.startswith("_")])
def test_generated_method_sends_each_argument_where_the_document_says(name: str) -> None:
    method, operation, recorder = vars(ApiMethods)[name], GENERATED[name.removesuffix("_with_etag")], Recorder()
    given: dict[str, Any] = {argument: argument for argument in list(signature(method).parameters)[1:]}
    given |= {"limit": 7} if "limit" in given else {}  # all others have their names as values
    found = method(Client(Access(url=URL, token="mst_x"), recorder), **given)
    assert list(found if isinstance(found, Iterator) else ()) == []
    ((verb, target, headers, body),) = recorder.sent
    assert (verb, urlsplit(target).path) == (operation.method, re.sub("[{}]", "", operation.path))
    queried = {one: str(given[one]) for one in operation.parameters("query") if one != "cursor"}
    assert dict(parse_qsl(urlsplit(target).query)) == queried
    known = {"if-match": "etag", "idempotency-key": "key"}
    sent = {header.lower(): value for header, value in headers.items() if header.lower() in known}
    assert sent == {header.lower(): known[header.lower()] for header in operation.parameters("header")}
    members, in_path = operation.body.get("properties", {}), operation.parameters("path")
    assert (body or {}) == {one: f"new_{one}" if one in in_path else RENAMED.get(one, one) for one in members}


def test_every_operation_has_a_method(world: World, transport: AsgiTransport) -> None:
    own, admin, job = muster(world, transport), muster(world, transport, "deployment-admin"), id_of(ACME, JOB)
    grants, roots, service = own.grants(ACME), admin.grants(None), world.principals["acme-operator"]
    results: list[Any] = [
        own.health(),
        next(own.events(ACME)),
        next(admin.deployment_events()),
        own.receipt(ACME, job),
        own.rejects(ACME, job),
        *own.rejected_rows(ACME, job),
        own.count(ACME, "ever(a)"),
        streamed(own),
        own.begin_inspection(ACME, "s3://inbox/acme/a.csv"),
        own.begin_dry_run(ACME, "vip", source="s3://inbox/acme/a.csv"),
        *own.tokens(ACME),
        *own.tokens(None),
        made := own.create_service_token(ACME, service, "y", ["operator"], days=3),
        own.revoke_token(made["token"], tenant=ACME),
        own.console_url(),
        refused(transport),
        own.replace_grants(ACME, {world.principals["acme-admin"]: ["admin"]}, etag=grants["etag"]),
        admin.replace_grants(None, {world.principals["deployment-admin"]: ["admin"]}, etag=roots["etag"]),
        admin.revoke_token(world.tokens["deployment-admin"].token_id),
    ]
    assert all(results)
    assert GENERATED.keys() <= vars(ApiMethods).keys()
    by_hand = {(method, _template(path)) for method, path in transport.sent} | {("GET", PROOF_PATH)}  # over http alone
    generated = {(one.method, one.path) for one in GENERATED.values()}
    assert by_hand | generated == {(one.method, one.path) for one in OPERATIONS.values()}


def streamed(own: Client) -> list[Sequence[Any]]:
    """The rows of a query."""
    with own.stream_query(ACME, "FROM vip") as (columns, rows):
        assert [one["name"] for one in columns] == ["user_id"]
        return list(rows)


def refused(transport: AsgiTransport) -> str:
    """A login whose code the service does not know."""

    def answer(url: str) -> None:
        query = dict(parse_qsl(urlsplit(url).query))
        back = f"http://127.0.0.1:{query['port']}/?{urlencode({'code': 'x' * 43, 'state': query['state']})}"
        Thread(target=lambda: urlopen(back).read()).start()

    with pytest.raises(ApiError) as error:
        browser_login(URL, answer, transport=transport)
    return error.value.code


def _template(path: str) -> str:
    """The path of the document that a path belongs to."""
    parts = path.split("/")
    for known in DOCUMENT["paths"]:
        template = known.split("/")
        if len(template) == len(parts) and all(
            t == p or t.startswith("{") for t, p in zip(template, parts, strict=True)
        ):
            return str(known)
    raise AssertionError(path)


def test_list_is_fetched_lazily_page_by_page(
    world: World, transport: AsgiTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muster.http_calls.PAGE", 1)
    jobs = muster(world, transport).jobs(ACME)
    assert transport.sent == []
    next(jobs)
    assert len(transport.sent) == 1
    assert [job_kinds.id_of(job) for job in jobs] == [id_of(ACME, number) for number in (EXPORT, FAILED_JOB, JOB)]
    assert len(transport.sent) == 4
    assert len(list(muster(world, transport).jobs(ACME, limit=2))) == 2
    assert [job_kinds.id_of(job) for job in muster(world, transport).jobs(ACME, kind=["export"])] == [
        id_of(ACME, DOWNLOAD),
        id_of(ACME, EXPORT),
    ]


def test_events_start_with_current_states_and_a_ready_mark(world: World, transport: AsgiTransport) -> None:
    events = muster(world, transport).events(ACME)
    found = list(takewhile(lambda event: event["kind"] != "ready", events))
    shown = {
        (event["kind"], event["value"] and (event["value"].get("job") or event["value"].get("export")))
        for event in found
    }
    assert {kind for kind, _ in shown} == {"job", "audience", "segment", "schedule"}
    assert {("job", id_of(ACME, JOB)), ("job", id_of(ACME, FAILED_JOB)), ("job", id_of(ACME, EXPORT))} <= shown
    lost = next(events)
    assert lost["kind"] == "lost"
    assert lost["as_of"] is not None


def test_lost_stream_reconnects_until_the_token_is_refused(world: World, transport: AsgiTransport) -> None:
    client, pauses = muster(world, transport), list[float]()
    events = follow(
        lambda: client._calls.stream("/tenants/{}/events", ACME, query={"kind": "audience"}), sleep=pauses.append
    )
    kinds = [next(events)["kind"] for _ in range(8)]
    assert kinds == ["audience", "audience", "ready", "lost"] * 2
    world.services.tokens.revoke(world.tokens["acme-admin"].token_id, now_ms=1)
    with pytest.raises(ApiError) as refused:
        next(events)
    assert refused.value.code == "TOKEN_REVOKED"
    assert pauses == [PAUSES_S[0]] * 2


def test_disconnected_stream_backs_off_and_reports_the_loss_once() -> None:
    attempts, pauses = list[int](), list[float]()

    @contextmanager
    def connect() -> Iterator[Iterator[bytes]]:
        attempts.append(1)
        if len(attempts) in {2, 3, 4, 5, 6}:
            raise ApiError("API_UNREACHABLE", "down", kind="retriable")
        yield iter([b"event: ready\n", b'data: {"as_of": "now"}\n', b"\n"])

    events = follow(connect, sleep=pauses.append)
    assert [next(events)["kind"] for _ in range(4)] == ["ready", "lost", "ready", "lost"]
    assert pauses == [0.5, 2.0, 5.0, 10.0, 10.0, 10.0]


def test_failed_first_connection_is_an_error() -> None:
    def connect() -> AbstractContextManager[Iterator[bytes]]:
        raise ApiError("API_UNREACHABLE", "down", kind="retriable")

    with pytest.raises(ApiError):
        next(follow(connect))


def test_rate_limited_caller_waits_before_an_error(
    world: World, service: Service, transport: AsgiTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.budget, "_per_s", 0.0)
    monkeypatch.setattr(service.budget, "_burst", 1)
    slept = list[float]()
    monkeypatch.setattr("muster.http_calls.time.sleep", slept.append)
    client = muster(world, transport)
    client.me()
    with pytest.raises(ApiError, match="TOO_MANY_REQUESTS"):
        client.me()
    assert slept == [RETRY_AFTER_S] * WAITS
    monkeypatch.setattr("muster.http_calls.time.sleep", lambda _: service.budget._left.clear())
    assert client.me()["principal"]


@pytest.mark.parametrize("name", ["../../beta/jobs", "a/b", "a?b", "a#b", "a b", "ä"])
def test_name_is_escaped_as_one_path_segment(world: World, transport: AsgiTransport, name: str) -> None:
    with pytest.raises(ApiError):
        muster(world, transport).audience(ACME, name)
    ((_, path),) = transport.sent
    assert path.startswith("/v1/tenants/acme/audiences/")
    assert unquote(path.rpartition("/")[2]) == name


def test_problem_raises_an_error_with_code_values_and_request(world: World, transport: AsgiTransport) -> None:
    with pytest.raises(ApiError) as refused:
        muster(world, transport).job(ACME, id_of(ACME, 77))
    error = refused.value
    assert (error.code, error.kind, error.status) == ("UNKNOWN_JOB", "user", 404)
    assert error.values == {"job": id_of(ACME, 77)}
    assert error.request_id
    assert str(error).startswith("UNKNOWN_JOB: job ")


@pytest.mark.parametrize(
    ("status", "content_type", "body", "kind"),
    [
        (200, "text/html", b"<html>", "user"),
        (404, "text/html", b"<html>", "user"),
        (502, "text/html", b"<html>", "retriable"),
        (302, "application/json", b"{}", "user"),
    ],
)
def test_foreign_answer_is_reported_as_such(status: int, content_type: str, body: bytes, kind: str) -> None:
    class Other(Recorder):
        def send(self, *_: Any) -> Answer:
            return status, {"content-type": content_type}, body

    with pytest.raises(ApiError) as refused:
        Client(Access(url=URL, token="mst_x"), Other()).me()  # a test's
    assert (refused.value.code, refused.value.kind, refused.value.status) == ("NOT_MUSTER", kind, status)


@pytest.mark.parametrize(("theirs", "own"), [("0.3.1", "0.2.9"), ("0.2.0", "0.3.0"), ("unknown", "0.1.0")])
def test_client_and_service_tolerate_one_version_difference(theirs: str, own: str) -> None:
    check_version(theirs, own)


@pytest.mark.parametrize(("theirs", "own"), [("0.4.0", "0.2.0"), ("0.1.0", "0.3.0"), ("1.0.0", "0.9.0")])
def test_larger_version_difference_names_the_older_side(theirs: str, own: str) -> None:
    with pytest.raises(ApiError, match=rf"VERSION_MISMATCH: the service has version {theirs}, .* {own}") as error:
        check_version(theirs, own)
    assert error.value.message.endswith("update the service" if theirs == "0.1.0" else "update this command")


def test_service_version_is_read_from_its_first_answer(
    world: World, transport: AsgiTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muster.http_calls.check_version", partial(check_version, own="9.9.9"))
    with pytest.raises(ApiError, match="VERSION_MISMATCH"):
        muster(world, transport).me()
