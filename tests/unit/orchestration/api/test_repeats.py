"""Idempotency: a request starts its job once per key, also when processes die."""

import json
import threading
from typing import Any

import pytest

from orchestration.access.idempotency import LIMITS
from orchestration.api.application import application
from orchestration.api.service import Service
from orchestration.api.statuses import STATUS_OF_CODE
from orchestration.catalog.idempotency import LEASE_MS, IdempotencyStore
from orchestration.platform.budget import Budget
from schemas.errors import RetriableError
from schemas.ids import job_id
from schemas.tracing import TraceContext, trace_of
from tests.fakes.asgi import Answer, AsgiClient
from tests.fakes.tenants import ACME, BETA, CRM, VIP, World
from tests.fakes.workflow import InMemoryWorkflow

IMPORTS = "/v1/tenants/acme/imports"
BODY = {"audience": VIP, "source": f"s3://{CRM}/acme/vip.csv"}


class Killed(BaseException):
    """The process of the service dies here."""


@pytest.fixture
def token(world: World) -> str:
    return world.tokens["acme-operator"].text.reveal()


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The clock of leases, which stands still unless the test moves it."""
    clock = [1_800_000_000_000]
    monkeypatch.setattr("orchestration.access.idempotency.now_ms", lambda: clock[0])
    return clock


def start(client: AsgiClient, token: str, key: str | None = "k1", body: Any = BODY, path: str = IMPORTS) -> Answer:
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.send("POST", path, token=token, body=body, headers=headers)


def started(world: World) -> list[str]:
    """Ids of the jobs whose executions were started."""
    return [json.loads(text)["import"]["job_id"] for text in world.workflow.started]


def test_repeated_request_gets_the_stored_answer(client: AsgiClient, token: str, world: World) -> None:
    first, second = start(client, token), start(client, token)
    assert (first.status, first.json["state"]) == (202, "SUBMITTED")
    assert (second.status, second.body) == (first.status, first.body)
    assert started(world) == [first.json["job"]]
    third = start(client, token, "k2")
    assert started(world) == [first.json["job"], third.json["job"]]


@pytest.mark.parametrize(
    ("key", "code", "status"),
    [
        (None, "NO_IDEMPOTENCY_KEY", 400),
        ("", "BAD_IDEMPOTENCY_KEY", 400),
        ("x" * 256, "BAD_IDEMPOTENCY_KEY", 400),
        ("caf\xe9", "BAD_IDEMPOTENCY_KEY", 400),
        ("a\tb", "BAD_IDEMPOTENCY_KEY", 400),
    ],
)
def test_a_request_without_a_usable_key_starts_nothing(
    client: AsgiClient, token: str, world: World, key: str | None, code: str, status: int
) -> None:
    answer = start(client, token, key)
    assert (answer.status, answer.json["code"]) == (status, code)
    assert started(world) == []


def test_idempotency_key_belongs_to_one_request(client: AsgiClient, token: str, world: World) -> None:
    start(client, token)
    other_body = start(client, token, body={**BODY, "again": True})
    other_path = start(client, token, path="/v1/tenants/acme/exports", body={"audience": VIP, "to": "download"})
    for answer in (other_body, other_path):
        assert (answer.status, answer.json["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert len(world.workflow.started) == 1


def test_member_order_does_not_change_a_request(client: AsgiClient, token: str, world: World) -> None:
    start(client, token)
    assert start(client, token, body=dict(reversed(BODY.items()))).status == 202
    assert len(started(world)) == 1


def test_principals_have_separate_keys(client: AsgiClient, token: str, world: World) -> None:
    first = start(client, token)
    second = start(client, world.tokens["acme-admin"].text.reveal(), body={**BODY, "again": True})
    assert second.status == 202
    assert second.json["job"] != first.json["job"]


def test_refusal_is_stored_and_repeated(client: AsgiClient, token: str, world: World) -> None:
    body = {"audience": VIP, "source": f"s3://{CRM}/acme/new.csv"}
    first = start(client, token, body=body)
    assert (first.status, first.json["code"]) == (422, "SOURCE_GONE")
    world.objects.put(CRM, "acme/new.csv", b"x")
    again = start(client, token, body=body)
    assert {**again.json, "instance": ""} == {**first.json, "instance": ""}
    assert start(client, token, "k2", body).status == 202


def test_outage_is_not_stored_and_the_next_request_starts_the_same_job(
    client: AsgiClient, token: str, world: World, now: list[int]
) -> None:
    world.workflow.away = True
    answer = start(client, token)
    assert (answer.status, answer.json["code"]) == (503, "ENGINE_UNAVAILABLE")
    world.workflow.away = False
    now[0] += 1
    again = start(client, token)
    assert (again.status, started(world)) == (202, [again.json["job"]])


@pytest.mark.parametrize("where", ["before the start", "after the start"])
def test_key_of_a_killed_service_is_taken_over_for_the_same_job(
    client: AsgiClient, token: str, world: World, now: list[int], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    claimed: list[str] = []
    claim, answer_of = IdempotencyStore.claim, IdempotencyStore.answer

    def die_after(*args: Any, **kwargs: Any) -> Any:
        claimed.append(claim(*args, **kwargs).job_id)
        raise Killed

    def die(*_: Any) -> None:
        raise Killed

    if where == "before the start":
        monkeypatch.setattr(IdempotencyStore, "claim", die_after)
    else:
        monkeypatch.setattr(IdempotencyStore, "answer", die)
    with pytest.raises(Killed):
        start(client, token)
    monkeypatch.setattr(IdempotencyStore, "claim", claim)
    monkeypatch.setattr(IdempotencyStore, "answer", answer_of)
    claimed += started(world)
    held = start(client, token)
    assert (held.status, held.json["code"]) == (409, "REQUEST_IN_PROGRESS")
    now[0] += LEASE_MS
    again = start(client, token)
    assert (again.status, [again.json["job"]]) == (202, claimed)
    assert started(world) == claimed
    assert start(client, token).body == again.body


def test_one_of_two_concurrent_requests_starts_the_job(
    world: World, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are in the service at the same time: the first is held while it starts its job."""
    held, go_on = threading.Event(), threading.Event()
    start_execution = InMemoryWorkflow.start_execution

    def slow(workflow: InMemoryWorkflow, **given: Any) -> Any:
        held.set()
        assert go_on.wait(20)
        return start_execution(workflow, **given)

    monkeypatch.setattr(InMemoryWorkflow, "start_execution", slow)
    service = Service(services=world.services, hosts=frozenset({"127.0.0.1"}), budget=Budget(burst=10**6))
    answers: list[Answer] = []

    def first() -> None:
        client = AsgiClient(application(service))
        answers.append(start(client, token))
        client.close()

    thread = threading.Thread(target=first)
    thread.start()
    client = AsgiClient(application(service))
    try:
        assert held.wait(20)
        second = start(client, token)
        go_on.set()
        thread.join(20)
        third = start(client, token)
    finally:
        go_on.set()
        client.close()
        service.calls.close()
    assert (second.status, second.json["code"]) == (409, "REQUEST_IN_PROGRESS")
    assert third.body == answers[0].body
    assert started(world) == [third.json["job"]]


def test_permission_is_checked_before_an_answer_is_repeated(client: AsgiClient, token: str, world: World) -> None:
    start(client, token)
    viewer = {world.principals["acme-operator"]: {"viewer"}}
    world.services.principals.replace_grants(ACME, viewer, now_ms=1, check=lambda *_: None)
    answer = start(client, token)
    assert (answer.status, answer.json["code"]) == (403, "FORBIDDEN")


def test_tenants_have_separate_keys(client: AsgiClient, world: World) -> None:
    admin = world.tokens["deployment-admin"].text.reveal()
    first = start(client, admin)
    body = {"audience": VIP, "source": f"s3://{CRM}/beta/vip.csv"}
    second = start(client, admin, body=body, path=f"/v1/tenants/{BETA}/imports")
    assert (first.status, second.status) == (202, 202)
    assert first.json["job"] != second.json["job"]


def test_old_keys_are_purged(client: AsgiClient, token: str, world: World, now: list[int]) -> None:
    first = start(client, token)
    assert world.services.idempotency.forget(now[0]) == 0
    assert start(client, token).body == first.body
    assert world.services.idempotency.forget(now[0] + 1) == 1
    assert start(client, token).json["job"] != first.json["job"]


def test_unstored_answer_is_an_outage_without_a_second_job(
    client: AsgiClient, token: str, world: World, now: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: Any) -> None:
        raise RetriableError("CATALOG_UNAVAILABLE", "the job catalog cannot be used: down")

    with monkeypatch.context() as patched:
        patched.setattr(IdempotencyStore, "answer", down)
        assert start(client, token).status == 503
    now[0] += LEASE_MS
    again = start(client, token)
    assert again.status == 202
    assert started(world) == [again.json["job"]]


def test_exactly_unstored_limits_are_429() -> None:
    of_all_requests = {"TOO_MANY_REQUESTS"}
    assert {code for code, status in STATUS_OF_CODE.items() if status == 429} == LIMITS | of_all_requests


def test_job_takes_the_id_reserved_before_its_start(client: AsgiClient, token: str, world: World) -> None:
    answer = start(client, token)
    assert job_id(answer.json["job"]) in world.workflow.started[0]
    (entry,) = [one for one in world.services.audit.search() if one.action == "import"]
    assert (entry.job_id, entry.object, entry.error) == (answer.json["job"], "acme/vip", None)


def test_job_belongs_to_the_trace_of_its_request(client: AsgiClient, token: str, world: World) -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    answers = [
        client.send("POST", IMPORTS, token=token, body=BODY, headers={"Idempotency-Key": key, "traceparent": given})
        for key, given in (("k1", parent), ("k2", parent.upper()))
    ]
    callers = [json.loads(text)["caller"] for text in world.workflow.started]
    assert [one["request_id"] for one in callers] == [answer.headers["x-request-id"] for answer in answers]
    first, second = [TraceContext.parse(one["traceparent"]) for one in callers]
    assert first == trace_of(callers[0]["request_id"], TraceContext.parse(parent))
    assert second == trace_of(callers[1]["request_id"])  # what is no traceparent is ignored
