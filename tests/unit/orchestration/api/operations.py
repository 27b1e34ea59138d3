"""How each operation of the OpenAPI document is called, for the tests that go through all of them."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from orchestration.access.grants import revision
from orchestration.access.policy import DEPLOYMENT
from orchestration.api.etags import etag
from orchestration.catalog.access_records import Session
from orchestration.platform.clock import fresh_id, fresh_secret, now_ms
from tests.fakes.asgi import Answer, AsgiClient
from tests.fakes.tenants import BUYERS, JOB, NIGHTLY, ONLY_BETA, VIP, World, id_of

DOCUMENT: Final[dict[str, Any]] = json.loads((Path(__file__).parents[4] / "docs" / "openapi.json").read_text())


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation of the document."""

    method: str
    path: str
    record: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.record["operationId"])

    @property
    def in_tenant(self) -> bool:
        return "{tenant}" in self.path

    @property
    def public(self) -> bool:
        return str(self.record["x-action"]) == "public"


OPERATIONS: Final = {
    one["operationId"]: Operation(method=method.upper(), path=path, record=one)
    for path, methods in DOCUMENT["paths"].items()
    for method, one in methods.items()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Who calls in which world, for which tenant."""

    world: World
    caller: str
    tenant: str


def _job(call: Call) -> str:
    return id_of(call.tenant, JOB)


def _own_token(call: Call) -> str:
    return call.world.tokens[call.caller].token_id


def _own_session(call: Call) -> str:
    """A new session of the caller."""
    made = Session(
        session_id=fresh_id(),
        principal_id=call.world.principals[call.caller],
        digest=fresh_secret().hex(),
        token_id=None,
        created_at_ms=now_ms(),
        seen_at_ms=now_ms(),
        expires_at_ms=now_ms() + 1000,
        revoked_at_ms=None,
    )
    call.world.stores.sessions.add(made)
    return made.session_id


def _token_in_tenant(call: Call) -> str:
    """The caller's own token, or one that reaches the tenant for callers from outside."""
    owner = call.caller if call.caller.startswith(call.tenant) else f"{call.tenant}-viewer"
    return call.world.tokens[owner].token_id


def _grants(call: Call, scope: str) -> Mapping[str, Any]:
    admin = f"{scope or 'deployment'}-admin"
    return {"items": [{"principal": call.world.principals[admin], "roles": ["admin"]}]}


def _seen(call: Call, scope: str) -> Mapping[str, str]:
    return {"If-Match": etag(revision(call.world.stores.principals.grants(scope)))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`values`: of the path. `foreign`: values that only beta has, for operations on one thing.

    `until`: when the caller leaves a stream.
    """

    values: Mapping[str, Callable[[Call], str]] = field(default_factory=dict)
    body: Callable[[Call], Any] = lambda _: None
    headers: Callable[[Call], Mapping[str, str]] = lambda _: {}
    foreign: Mapping[str, Callable[[World], str]] = field(default_factory=dict)
    until: Callable[[bytes], bool] | None = None


JOBS: Final = Row(values={"job": _job}, foreign={"job": lambda _: id_of("beta", JOB)})
SEGMENT: Final = Row(values={"segment": lambda _: BUYERS}, foreign={"segment": lambda _: BUYERS + ONLY_BETA})
TOKEN: Final = Row(
    values={"token": _token_in_tenant}, foreign={"token": lambda world: world.tokens["beta-viewer"].token_id}
)
ROWS: Final[Mapping[str, Row]] = {
    "get_health": Row(),
    "get_me": Row(),
    "list_tenants": Row(),
    "create_tenant": Row(body=lambda _: {"tenant": "new"}),
    "list_principals": Row(),
    "create_principal": Row(body=lambda _: {"kind": "service", "name": "new"}),
    "get_deployment_grants": Row(),
    "replace_deployment_grants": Row(
        body=lambda call: _grants(call, DEPLOYMENT), headers=lambda call: _seen(call, DEPLOYMENT)
    ),
    "list_own_tokens": Row(),
    "create_own_token": Row(
        body=lambda call: {"name": "new", **_capped_as(call)},
    ),
    "list_sessions": Row(),
    "end_session": Row(values={"session": _own_session}),
    "create_console_code": Row(),
    "create_login_token": Row(body=lambda _: {"code": "x" * 43, "verifier": "x" * 43}),
    "revoke_own_token": Row(values={"token": _own_token}),
    "list_jobs": Row(),
    "get_job": JOBS,
    "get_receipt": JOBS,
    "get_rejects": JOBS,
    "list_audiences": Row(),
    "get_audience": Row(values={"audience": lambda _: VIP}, foreign={"audience": lambda _: VIP + ONLY_BETA}),
    "list_versions": Row(values={"audience": lambda _: VIP}, foreign={"audience": lambda _: VIP + ONLY_BETA}),
    "get_version": Row(
        values={"audience": lambda _: VIP, "version": lambda _: "1"}, foreign={"audience": lambda _: VIP + ONLY_BETA}
    ),
    "list_segments": Row(),
    "get_segment": SEGMENT,
    "list_rule_versions": SEGMENT,
    "list_schedules": Row(),
    "get_schedule": Row(values={"schedule": lambda _: NIGHTLY}, foreign={"schedule": lambda _: NIGHTLY + ONLY_BETA}),
    "list_recipients": Row(),
    "get_grants": Row(),
    "replace_grants": Row(body=lambda call: _grants(call, call.tenant), headers=lambda call: _seen(call, call.tenant)),
    "list_tokens": Row(),
    "create_token": Row(body=lambda _: {"name": "new", "roles": ["viewer"]}),
    "revoke_token": TOKEN,
    "list_audit": Row(),
    "stream_events": Row(until=lambda received: b"event: ready" in received),
}


def _capped_as(call: Call) -> Mapping[str, Any]:
    """The cap of the caller's own token."""
    cap = call.world.caller(call.caller).cap or ()
    return {
        "deployment": [role for scope, role in cap if not scope],
        "tenants": {scope: [role] for scope, role in cap if scope},
    }


def send(
    client: AsgiClient,
    operation: Operation,
    call: Call,
    *,
    token: str | None = None,
    values: Mapping[str, str] | None = None,
    in_path: str | None = None,
) -> Answer:
    """Call an operation. `values` replace those of its row, `in_path` the tenant in the path."""
    row = ROWS[operation.name]
    path = operation.path.replace("{tenant}", call.tenant if in_path is None else in_path)
    for name, value in row.values.items():
        path = path.replace("{" + name + "}", (values or {}).get(name) or value(call))
    known = call.tenant in call.world.stores.audiences.tenants()
    return client.send(
        operation.method,
        path,
        token=token,
        body=row.body(call),
        headers=row.headers(call) if known else {},
        until=row.until,
    )
