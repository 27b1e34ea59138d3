"""Questions and operations: permissions and audit entries."""

import asyncio
import json
import select
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from orchestration.access.sessions import authenticate_session, begin_session, check_again
from orchestration.api.application import application
from orchestration.api.service import Service
from orchestration.api.streams.watcher import Pace
from orchestration.api.thread_pool import ThreadPool
from orchestration.catalog.operations import Operation
from orchestration.platform.budget import Budget
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.readers.cancellation import Cancellation
from orchestration.readers.questions import CountUsers
from schemas.errors import RetriableError, UserError
from schemas.ids import JobId
from tests.fakes.asgi import Answer, AsgiClient
from tests.fakes.readers import FakeSql
from tests.fakes.tenants import ACME, BETA, BUYERS, CANARY, JOB, VIP, World, id_of

ANN = "ann@example.com"


def post(world: World, client: AsgiClient, path: str, body: Any, caller: str = "acme-analyst") -> Answer:
    token = world.tokens[caller].text.reveal()
    return client.send("POST", f"/v1/tenants/acme/{path}", token=token, body=body)


def test_members_are_shown_only_with_the_right_to_read_users_and_audited(world: World, client: AsgiClient) -> None:
    rule = {"rule": "ever(a)"}
    assert post(world, client, "counts", rule, "acme-viewer").json["users"] is None
    refused = post(world, client, "counts", {**rule, "users": 5}, "acme-viewer")
    assert (refused.status, refused.json["code"]) == (403, "FORBIDDEN")
    assert post(world, client, "counts", {**rule, "users": 5}).json["users"] == ["plain"]
    assert [(e.error, e.arguments) for e in world.services.audit.search()] == [
        (None, {"rule": "ever(a)", "exact": False}),
        ("FORBIDDEN", {}),
        (None, {"rule": "ever(a)", "users": 5}),
    ]


def test_lookup_of_a_user_is_audited_without_the_user(world: World, client: AsgiClient) -> None:
    assert post(world, client, "user-lookups", {"user": ANN}).status == 200
    assert post(world, client, "segments/buyers/explanations", {"user": ANN}).status == 200
    first, second = world.services.audit.search()
    assert first.arguments["user_sha256"] == second.arguments["user_sha256"]
    assert ANN not in str((first, second))


@pytest.mark.parametrize(
    ("word", "name", "where"),
    [("FROM", VIP, VIP), ("SEGMENT", BUYERS, BUYERS), ("EVENTS", "order", "events"), ("PROFILES", "", "profiles")],
)
def test_query_reads_only_tenants_of_the_callers_rights(
    world: World, client: AsgiClient, word: str, name: str, where: str
) -> None:
    assert post(world, client, "queries", {"sql": f"{word} .{name}"}).json["rows"] == [["plain"]]
    assert post(world, client, "queries", {"sql": f"{word} acme.{name}"}).json["rows"] == [["plain"]]
    foreign = [post(world, client, "queries", {"sql": f"{word} {tenant}.{name}"}).json for tenant in (BETA, "gone")]
    assert [one["code"] for one in foreign] == ["UNKNOWN_TENANT", "UNKNOWN_TENANT"]
    assert foreign[0]["detail"].replace(BETA, "gone") == foreign[1]["detail"]
    everywhere = post(world, client, "queries", {"sql": f"{word} {BETA}.{name}"}, "deployment-admin")
    assert everywhere.json["rows"] == [[CANARY]]
    # Whoever looks after beta's users learns of it, and nothing of the tenant whose path was used.
    entries = [e for e in world.services.audit.search() if e.principal == world.principals["deployment-admin"]]
    # The order of entries of one millisecond is random.
    theirs, ours = sorted(entries, key=lambda entry: entry.tenant == ACME)
    assert (theirs.tenant, theirs.action, theirs.object, theirs.error) == (BETA, "sql", f"{BETA}/{where}", None)
    assert (ours.tenant, ours.action, ours.object, ours.error) == (ACME, "sql", f"{ACME}/queries", None)
    assert ACME not in str(theirs.arguments)
    # with a right in beta, but not to see users
    world.services.principals.replace_grants(
        BETA, {world.principals["acme-analyst"]: ["viewer"]}, now_ms=1, check=lambda *_: None
    )
    token = world.add_token("acme-analyst", {(ACME, "analyst"), (BETA, "viewer")}, 2000).text.reveal()
    answer = client.send("POST", "/v1/tenants/acme/queries", token=token, body={"sql": f"{word} {BETA}.{name}"})
    assert (answer.status, answer.json["code"]) == (403, "FORBIDDEN")
    refused = [e for e in world.services.audit.search() if e.tenant == BETA and e.error]
    assert [(e.principal, e.error) for e in refused] == [(world.principals["acme-analyst"], "FORBIDDEN")]


def test_reads_of_foreign_rejects_are_refused_or_audited_there(world: World, client: AsgiClient) -> None:
    mine, theirs, missing = ({"sql": f"REJECTS {id_}"} for id_ in (id_of(ACME, JOB), id_of(BETA, JOB), id_of(ACME, 77)))
    assert post(world, client, "queries", mine).json["rows"] == [["plain"]]
    foreign, unknown = post(world, client, "queries", theirs), post(world, client, "queries", missing)
    assert (foreign.status, foreign.json["code"]) == (404, "UNKNOWN_JOB")
    assert foreign.json["detail"].replace(id_of(BETA, JOB), id_of(ACME, 77)) == unknown.json["detail"]
    assert [e.tenant for e in world.services.audit.search()] == [ACME] * 3
    assert post(world, client, "queries", theirs, "deployment-admin").json["rows"] == [[CANARY]]
    (read,) = [e for e in world.services.audit.search() if e.tenant == BETA]
    assert (read.action, read.object, read.job_id, read.error) == ("sql", f"{BETA}/{VIP}", id_of(BETA, JOB), None)


def test_rule_reaches_the_readers_with_the_tenant_of_the_path(
    world: World, client: AsgiClient, service: Service
) -> None:
    post(world, client, "counts", {"rule": "in audience vip", "precision": "exact", "timezone": "UTC"})
    (asked,) = service.services.readers.asked  # type: ignore[attr-defined]
    assert asked == CountUsers(tenant=ACME, rule="in audience vip", timezone="UTC", exact=True, users=0, notes=False)


def test_viewer_gets_rounded_audited_and_limited_counts(
    world: World, client: AsgiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts, take, waits_s = world.services.count_budget, Budget.take, [0.0]
    monkeypatch.setattr(Budget, "take", lambda one, *given: waits_s[0] if one is counts else take(one, *given))
    rule = {"rule": 'ever(a) and plan = "x"', "precision": "exact"}
    exact = post(world, client, "counts", rule, "acme-engineer").json
    assert (exact["precision"], exact["members"], exact["rounded_to"]) == ("exact", 3, None)
    answers = [post(world, client, "counts", rule, name) for name in ("acme-viewer", "acme-operator", "acme-viewer")]
    for answer in answers:
        found = answer.json
        assert answer.body == answers[0].body
        assert (found["precision"], found["rounded_to"]) == ("rounded", 10)
        numbers = [found, *found["groups"], *(one for group in found["groups"] for one in group["conditions"])]
        assert all((one["members"] or 10) % 10 == 0 and one["interval"][1] >= 20 for one in numbers)
    waits_s[0] = 431.5
    refused = post(world, client, "counts", rule, "acme-viewer")
    assert (refused.status, refused.json["code"], refused.json["values"]["numbers"]) == (429, "TOO_MANY_COUNTS", 3)
    assert refused.headers["retry-after"] == "432"
    assert post(world, client, "counts", rule, "acme-analyst").status == 200
    assert [(e.action, e.error) for e in world.services.audit.search()][-2:] == [
        ("counts", "TOO_MANY_COUNTS"),
        ("counts", None),
    ]


def test_forecast_is_exact_only_with_the_right_to_read_users(
    world: World, client: AsgiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent: list[float] = []
    take, counts = Budget.take, world.services.count_budget

    def taking(one: Budget, *given: Any) -> float:
        if one is not counts:
            return take(one, *given)
        spent.append(given[1])
        return 0.0

    monkeypatch.setattr(Budget, "take", taking)
    body = {"in_s": [60, 0, 60, 40]}
    exact = post(world, client, "segments/buyers/forecasts", body).json
    assert [(one["in_s"], one["members"]) for one in exact["points"]] == [(0, 2340), (40, 2300), (60, 2280)]
    assert (exact["precision"], exact["rounded_to"], spent) == ("exact", None, [])
    rounded = [post(world, client, "segments/buyers/forecasts", body, "acme-viewer").json for _ in range(2)]
    assert rounded[0] == rounded[1]
    assert (rounded[0]["precision"], rounded[0]["rounded_to"], spent) == ("rounded", 10, [3, 3])
    for point, true in zip(rounded[0]["points"], exact["points"], strict=True):
        assert point["members"] % 10 == 0
        assert abs(point["members"] - true["members"]) <= 100
        assert point["interval"] == [point["members"] - 20, point["members"] + 20]
    monkeypatch.setattr(Budget, "take", lambda one, *given: 9.0 if one is counts else take(one, *given))
    refused = post(world, client, "segments/buyers/forecasts", body, "acme-viewer")
    assert (refused.status, refused.json["code"]) == (429, "TOO_MANY_COUNTS")
    for wrong in ([], [-1], [1] * 49, [366 * 86_400 + 1]):
        assert post(world, client, "segments/buyers/forecasts", {"in_s": wrong}).json["code"] == "INVALID_REQUEST"


@pytest.mark.parametrize(
    "body",
    [
        {"rule": "a", "revision": -1},
        {"rule": "a", "revision": 2**60},
        {"rule": "a", "users": 6},
        {"rule": "a", "precision": "guess"},
        {"rule": "a", "editor": ""},
        {"rule": 5},
        {},
        {"rule": "a", "tenant": "beta"},
    ],
)
def test_invalid_count_request_is_refused(world: World, client: AsgiClient, body: Any) -> None:
    answer = post(world, client, "counts", body)
    assert (answer.status, answer.json["code"]) == (422, "INVALID_REQUEST")


def operation(world: World, caller: str, **changes: Any) -> JobId:
    values: dict[str, Any] = {
        "operation_id": fresh_id(),
        "tenant": ACME,
        "principal_id": world.principals[caller],
        "kind": "difference",
        "action": "read_users",
        "state": "running",
        "created_at_ms": now_ms(),
        "alive_until_ms": now_ms() + 60_000,
    }
    new = Operation(**{**values, **changes})
    world.services.operations.add(new)
    return new.operation_id


def get(world: World, client: AsgiClient, operation_id: str, caller: str = "acme-analyst") -> Answer:
    return client.get(f"/v1/tenants/acme/operations/{operation_id}", token=world.tokens[caller].text.reveal())


def test_operation_belongs_to_its_caller(world: World, client: AsgiClient) -> None:
    own = operation(world, "acme-analyst")
    assert get(world, client, own).json["state"] == "running"
    assert get(world, client, own, "acme-admin").json["code"] == "UNKNOWN_OPERATION"


def test_result_is_hidden_after_the_right_is_lost(world: World, client: AsgiClient) -> None:
    own = operation(world, "acme-viewer", state="done", result={"sample": {"added": [ANN]}})
    answer = get(world, client, own, "acme-viewer")
    assert (answer.status, answer.json["code"]) == (403, "FORBIDDEN")
    assert ANN not in answer.body.decode()


def test_operation_of_a_dead_service_has_failed(world: World, client: AsgiClient) -> None:
    lost = get(world, client, operation(world, "acme-analyst", alive_until_ms=now_ms() - 1)).json
    assert (lost["state"], lost["error"]["code"], lost["error"]["kind"]) == ("failed", "OPERATION_LOST", "retriable")
    done = operation(world, "acme-analyst", alive_until_ms=now_ms() - 1, state="done", result={"added": 1})
    assert get(world, client, done).json["result"] == {"added": 1}


def test_results_are_kept_for_a_day(world: World, client: AsgiClient) -> None:
    old = operation(world, "acme-analyst", created_at_ms=now_ms() - 25 * 3600 * 1000)
    world.services.operations.forget(now_ms() - 24 * 3600 * 1000)
    assert get(world, client, old).json["code"] == "UNKNOWN_OPERATION"


def lines(answer: Answer) -> list[Any]:
    return [json.loads(line) for line in answer.body.splitlines() if line]


def test_query_is_streamed_to_its_end_or_error_and_audited(
    world: World, client: AsgiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = {"columns": [{"name": "user_id", "type": "VARCHAR"}]}
    whole = post(world, client, "query-streams", {"sql": f"FROM {VIP}"})
    assert lines(whole) == [columns, {"rows": [["plain"]]}, {"end": True}]
    before = post(world, client, "query-streams", {"sql": f"FROM {BETA}.{VIP}"})
    assert (before.status, before.json["code"]) == (404, "UNKNOWN_TENANT")

    def breaks(_: object, text: str, meaning: object, cancellation: Cancellation, put: Any, **_given: Any) -> None:
        put(columns)
        raise UserError("SQL_TOO_BIG", text)

    monkeypatch.setattr(FakeSql, "stream", breaks)
    first, last = lines(post(world, client, "query-streams", {"sql": "late", "parameters": {"user": "ann"}}))
    assert (first, last["error"]["code"], last["error"]["detail"]) == (columns, "SQL_TOO_BIG", "late")
    entries = [(e.action, e.arguments["sql"], e.error) for e in world.services.audit.search()]
    assert entries[-1] == ("sql", "late", "SQL_TOO_BIG")
    arguments = [e.arguments for e in world.services.audit.search()][-1]
    assert arguments["parameters"] == ["user"], "values may be ids of users, and are not kept"


def test_disconnecting_client_ends_its_query(world: World, client: AsgiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    given_up: list[str] = []

    def endless(_: object, text: str, meaning: object, cancellation: Cancellation, put: Any, **_given: Any) -> None:
        try:
            while True:
                cancellation.check()
                put({"rows": [[text]]})
        except RetriableError as exc:
            given_up.append(exc.code)
            raise

    monkeypatch.setattr(FakeSql, "stream", endless)
    token = world.tokens["acme-analyst"].text.reveal()
    path, until = "/v1/tenants/acme/query-streams", lambda received: received.count(b"rows") >= 3
    client.send("POST", path, token=token, body={"sql": "x"}, until=until)
    assert given_up == ["CLIENT_GONE"]


def revoke_token(world: World) -> None:
    world.services.tokens.revoke(world.tokens["acme-analyst"].token_id, now_ms=1)


def lose_role(world: World) -> None:
    world.services.principals.replace_grants(ACME, {}, now_ms=1, check=lambda *_: None)


@pytest.mark.parametrize(("happens", "code"), [(revoke_token, "TOKEN_REVOKED"), (lose_role, "RIGHTS_CHANGED")])
@pytest.mark.parametrize("path", ["queries", "query-streams"])
def test_query_ends_when_its_caller_loses_the_right(
    world: World, monkeypatch: pytest.MonkeyPatch, happens: Callable[[World], None], code: str, path: str
) -> None:
    def run(_: object, tenant: str, text: str, meaning: object, cancellation: Cancellation, **__: Any) -> None:
        happens(world)
        assert select.select([cancellation], [], [], 60)[0], "it is given up"
        cancellation.check()

    def stream(_: object, text: str, meaning: object, cancellation: Cancellation, put: Any, **__: Any) -> None:
        put({"columns": []})
        run(_, "acme", text, meaning, cancellation)

    monkeypatch.setattr(FakeSql, "run", run)
    monkeypatch.setattr(FakeSql, "stream", stream)
    pace = Pace(question_check_s=0.05)
    service = Service(services=world.services, hosts=frozenset({"127.0.0.1"}), budget=Budget(burst=10**6), pace=pace)
    with closing(service), closing(AsgiClient(application(service))) as client:
        answer = post(world, client, path, {"sql": "x"})
    said = answer.json if path == "queries" else lines(answer)[-1]["error"]
    assert said["code"] == code


def test_a_query_ends_with_its_session(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = world.caller("acme-analyst").principal
    cookie = begin_session(world.services, owner, token_id=None, request_id=id_of(ACME, 99))
    (session,) = world.services.sessions.of(JobId(owner.principal), now_ms=now_ms(), limit=9)
    caller = authenticate_session(world.services.sessions, cookie.reveal(), request_id=id_of(ACME, 99), now_ms=now_ms())
    check_again(world.services, caller)
    world.services.sessions.revoke(JobId(session.session), now_ms=1)
    with pytest.raises(UserError, match="SESSION_ENDED"):
        check_again(world.services, caller)


def test_tenant_leaves_threads_to_others() -> None:
    async def ask() -> list[str]:
        calls, ends = ThreadPool(threads=4, queue=0), threading.Event()
        asked = [asyncio.ensure_future(calls.run(ends.wait, tenant="acme")) for _ in range(3)]
        asked.append(asyncio.ensure_future(calls.run(ends.wait, tenant="beta")))
        done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        ends.set()
        await asyncio.gather(*asked, return_exceptions=True)
        again = await calls.run(lambda: "as before", tenant="acme")
        calls.close()
        return [*(str(one.exception()) for one in done), again]

    busy, again = asyncio.run(ask())
    assert busy.startswith("BUSY")
    assert again == "as before"
