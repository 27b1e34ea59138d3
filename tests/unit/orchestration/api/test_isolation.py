"""The matrix: every operation of the OpenAPI document, called in every role."""

from collections.abc import Iterator

import pytest

from orchestration.access.grants import DAY_MS
from orchestration.access.policy import DEPLOYMENT, DEPLOYMENT_ROLES, TENANT_ROLES, Action, Rights
from orchestration.platform.clock import now_ms
from tests.fakes.asgi import Answer, AsgiClient
from tests.fakes.tenants import ACME, BETA, CANARY, DUPLICATE, EXPORT, FAILED_JOB, JOB, World, id_of
from tests.unit.orchestration.api.operations import OPERATIONS, ROWS, Call, Operation, row_of, send, things_of

CALLERS = [
    *(f"{tenant}-{role}" for tenant in (ACME, BETA) for role in TENANT_ROLES),
    *(f"deployment-{role}" for role in DEPLOYMENT_ROLES),
    "stranger",
]
every_operation = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=list(OPERATIONS))
PRIVATE = [one for one in OPERATIONS.values() if not one.public]
IN_TENANT = [one for one in PRIVATE if one.in_tenant]
ON_ONE_THING = [one for one in IN_TENANT if any(thing.foreign for thing in things_of(one).values())]


def ids_of_beta(world: World) -> Iterator[str]:
    """Every id that belongs to beta."""
    yield from (id_of(BETA, number) for number in range(20))
    yield from (world.principals[f"beta-{role}"] for role in TENANT_ROLES)
    yield from (world.tokens[f"beta-{role}"].token_id for role in TENANT_ROLES)


def assert_nothing_of_beta(world: World, answer: Answer, *asked: str) -> None:
    """No canary and no id, but for what the request itself named."""
    text = answer.body.decode() + str(answer.headers)
    for one in asked:
        text = text.replace(one, "asked")
    assert CANARY not in text
    assert not [one for one in ids_of_beta(world) if one in text]


def same(first: Answer, second: Answer, first_asked: str, second_asked: str) -> None:
    """Equal byte for byte, but for the request's id and what it asked for."""
    bodies = [
        answer.body.replace(answer.headers["x-request-id"].encode(), b"request").replace(asked.encode(), b"asked")
        for answer, asked in ((first, first_asked), (second, second_asked))
    ]
    assert bodies[0] == bodies[1]
    rest = [
        {k: v for k, v in answer.headers.items() if k not in {"x-request-id", "content-length"}}
        for answer in (first, second)
    ]
    assert rest[0] == rest[1]
    assert first.status == second.status


def test_operations_and_rows_correspond() -> None:
    assert ROWS.keys() <= OPERATIONS.keys()
    named = {one.name for one in IN_TENANT if one.path.replace("{kind}", "events").count("{") > 1}
    assert named == {one.name for one in ON_ONE_THING}


@pytest.mark.parametrize("operation", PRIVATE, ids=lambda one: one.name)
def test_every_operation_requires_a_valid_token(operation: Operation, world: World, client: AsgiClient) -> None:
    call = Call(world=world, caller="acme-admin", tenant=ACME)
    own = world.tokens["acme-admin"].text.reveal()
    expired = world.add_token("acme-admin", {(ACME, "admin")}, 1000, expires_at_ms=now_ms() - 1).text.reveal()
    revoked = world.add_token("acme-admin", {(ACME, "admin")}, 1001, revoked_at_ms=now_ms() - DAY_MS).text.reveal()
    for token, code in (
        (None, "NO_TOKEN"),
        ("", "BAD_TOKEN"),
        (own[:-1] + ("0" if own[-1] != "0" else "1"), "BAD_TOKEN"),
        (expired, "TOKEN_EXPIRED"),
        (revoked, "TOKEN_REVOKED"),
    ):
        answer = send(client, operation, call, token=token)
        assert (answer.status, answer.json["code"]) == (401, code)
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert not token or token not in answer.body.decode()
        assert code in operation.record["x-problems"]


@pytest.mark.parametrize("operation", PRIVATE, ids=lambda one: one.name)
def test_every_role_follows_the_policy(operation: Operation, world: World, client: AsgiClient) -> None:
    for caller in CALLERS:
        check_role(operation, caller, world, client)
        if operation.method != "GET":
            world.reset()


def rights_of(caller: str) -> Rights:
    scope, _, role = caller.partition("-")
    return Rights.of({(DEPLOYMENT if scope == "deployment" else scope, role)} if role else ())


def check_role(operation: Operation, caller: str, world: World, client: AsgiClient) -> None:
    rights = rights_of(caller)
    action = Action(operation.record["x-action"])
    permitted = rights.in_tenant(ACME) if operation.in_tenant else rights.deployment
    answer = send(
        client, operation, Call(world=world, caller=caller, tenant=ACME), token=world.tokens[caller].text.reveal()
    )
    if action in permitted and caller in row_of(operation).refused:
        assert answer.json["code"] == row_of(operation).refused[caller], caller
    elif action in permitted:
        assert answer.status in {200, 201, 202}, (caller, answer.body)
        assert str(answer.status) in operation.record["responses"], caller
    elif operation.in_tenant and not permitted:
        assert (answer.status, answer.json["code"]) == (404, "UNKNOWN_TENANT"), caller
    else:
        assert (answer.status, answer.json["code"]) == (403, "FORBIDDEN"), caller
    if answer.status >= 400:
        assert answer.json["code"] in operation.record["x-problems"], caller
    if not caller.startswith(("beta", "deployment")):
        assert_nothing_of_beta(world, answer)


@pytest.mark.parametrize("operation", IN_TENANT, ids=lambda one: one.name)
@pytest.mark.parametrize("caller", ["acme-admin", "stranger"])
def test_foreign_tenant_looks_missing(operation: Operation, caller: str, world: World, client: AsgiClient) -> None:
    token = world.tokens[caller].text.reveal()
    call = Call(world=world, caller=caller, tenant=BETA)
    foreign = send(client, operation, call, token=token)
    missing = send(client, operation, call, token=token, values={"tenant": "gone"})
    assert (foreign.status, foreign.json["code"]) == (404, "UNKNOWN_TENANT")
    same(foreign, missing, BETA, "gone")
    assert_nothing_of_beta(world, foreign, *(thing.own(call) for thing in things_of(operation).values()))


@pytest.mark.parametrize("operation", ON_ONE_THING, ids=lambda one: one.name)
def test_object_of_another_tenant_looks_missing(operation: Operation, world: World, client: AsgiClient) -> None:
    token, call = world.tokens["acme-admin"].text.reveal(), Call(world=world, caller="acme-admin", tenant=ACME)
    ((name, foreign_value),) = (
        (name, thing.foreign(world)) for name, thing in things_of(operation).items() if thing.foreign
    )
    missing_value = id_of(ACME, 77) if len(foreign_value) == 26 else "nothing"
    foreign = send(client, operation, call, token=token, values={name: foreign_value})
    missing = send(client, operation, call, token=token, values={name: missing_value})
    assert foreign.status == 404
    same(foreign, missing, foreign_value, missing_value)
    assert_nothing_of_beta(world, foreign, foreign_value)


@pytest.mark.parametrize("number", [JOB, FAILED_JOB, DUPLICATE, EXPORT])
@pytest.mark.parametrize("name", ["get_job", "get_receipt", "get_rejects"])
def test_jobs_of_another_tenant_are_unknown_in_every_kind_and_state(
    name: str, number: int, world: World, client: AsgiClient
) -> None:
    call = Call(world=world, caller="acme-admin", tenant=ACME)
    answer = send(
        client,
        OPERATIONS[name],
        call,
        token=world.tokens["acme-admin"].text.reveal(),
        values={"job": id_of(BETA, number)},
    )
    assert (answer.status, answer.json["code"]) == (404, "UNKNOWN_JOB")


@every_operation
def test_refused_changes_and_user_reads_are_audited(operation: Operation, world: World, client: AsgiClient) -> None:
    recorded = row_of(operation).recorded
    changes = (operation.method != "GET" and not operation.public) if recorded is None else recorded
    caller = "acme-viewer" if operation.in_tenant else "stranger"
    before = len(world.services.audit.search())
    send(client, operation, Call(world=world, caller=caller, tenant=ACME), token=world.tokens[caller].text.reveal())
    entries = world.services.audit.search()[before:]
    assert len(entries) == int(changes)
    for entry in entries:
        assert entry.principal == world.principals[caller]
        assert entry.tenant == (ACME if operation.in_tenant else None)
        assert entry.request_id is not None


def test_a_cursor_of_another_tenant_s_list_is_refused(world: World, client: AsgiClient) -> None:
    admin = world.tokens["deployment-admin"].text.reveal()
    cursor = client.get("/v1/tenants/beta/jobs", token=admin, query={"limit": 1}).json["next"]
    for path, query in (
        ("/v1/tenants/acme/jobs", {"cursor": cursor}),
        ("/v1/tenants/beta/tokens", {"cursor": cursor}),
        ("/v1/tenants/beta/jobs", {"cursor": cursor, "kind": "export"}),
    ):
        answer = client.get(path, token=admin, query=query)
        assert (answer.status, answer.json["code"]) == (400, "BAD_CURSOR")


def test_revoked_role_is_lost_at_the_next_request(world: World, client: AsgiClient) -> None:
    token = world.tokens["acme-viewer"].text.reveal()
    assert client.get("/v1/tenants/acme/jobs", token=token).status == 200
    world.services.principals.replace_grants(ACME, {}, now_ms=1, check=lambda *_: None)
    assert client.get("/v1/tenants/acme/jobs", token=token).status == 404


def test_deployment_scope_is_not_a_tenant(world: World, client: AsgiClient) -> None:
    assert DEPLOYMENT == ""
    token = world.tokens["deployment-admin"].text.reveal()
    assert client.get("/v1/tenants//grants", token=token).status == 404
