"""How each operation of the OpenAPI document is called, for the tests that go through all of them.

The document and `THINGS` say most of it: the things in a path, an example of a body, the headers that are required.
"""

import itertools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from orchestration.access.policy import DEPLOYMENT, Action
from orchestration.catalog.access_records import Session
from orchestration.catalog.operations import Operation as AnOperation
from orchestration.platform.clock import fresh_id, fresh_secret, now_ms
from schemas.ids import TenantName
from tests.fakes.asgi import Answer, AsgiClient
from tests.fakes.tenants import (
    BETA,
    BUYERS,
    CANARY,
    CRM,
    DOWNLOAD,
    FAILED_JOB,
    JOB,
    LARGE_UPLOAD,
    MEMBERS,
    NIGHTLY,
    ONLY_BETA,
    QUIET,
    TENANTS,
    UPLOAD,
    VIP,
    World,
    id_of,
)

DOCUMENT: Final[dict[str, Any]] = json.loads((Path(__file__).parents[4] / "docs" / "openapi.json").read_text())
_KEYS: Final = itertools.count()


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

    @property
    def links(self) -> frozenset[str]:
        """Operations that take an id from its answer."""
        return frozenset(name for one in self.record["responses"].values() for name in one.get("links", ()))

    @property
    def body(self) -> Mapping[str, Any]:
        """The schema of its body; empty without one."""
        if "requestBody" not in self.record:
            return {}
        name = self.record["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        found: Mapping[str, Any] = DOCUMENT["components"]["schemas"][name]
        return found

    @property
    def until(self) -> Callable[[bytes], bool] | None:
        """When a client leaves its stream of events."""
        streams = "text/event-stream" in self.record["responses"]["200"]["content"] if self.method == "GET" else False
        return (lambda received: b"event: ready" in received) if streams else None

    def parameters(self, place: str) -> list[str]:
        """The names of its parameters in "path", "query" or "header"."""
        return [str(one["name"]) for one in self.record.get("parameters", ()) if one["in"] == place]


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
    call.world.services.sessions.add(made)
    return made.session_id


def _recipient(call: Call) -> str:
    """A recipient of all audiences. It names the tenant, and is none of another."""
    address = f"ops@{call.tenant}.example"
    call.world.services.recipients.replace(TenantName(call.tenant), None, {"email": [address]})
    return address


def _token_in_tenant(call: Call) -> str:
    """The caller's own token, or one that reaches the tenant for callers from outside."""
    owner = call.caller if call.caller.startswith(call.tenant) else f"{call.tenant}-viewer"
    return call.world.tokens[owner].token_id


def _grants(call: Call, scope: str) -> Mapping[str, Any]:
    admin = f"{scope or 'deployment'}-admin"
    return {"items": [{"principal": call.world.principals[admin], "roles": ["admin"]}]}


def _operation(world: World, tenant: str, caller: str) -> str:
    """A new operation of a caller."""
    new = AnOperation(
        operation_id=fresh_id(),
        tenant=TenantName(tenant),
        principal_id=world.principals[caller],
        kind="difference",
        action=Action.OWN_ACCOUNT.value,
        state="done",
        result={"note": CANARY if tenant == BETA else "plain"},
        created_at_ms=now_ms(),
        finished_at_ms=now_ms(),
    )
    world.services.operations.add(new)
    return new.operation_id


def _capped_as(call: Call) -> Mapping[str, Any]:
    """The cap of the caller's own token."""
    cap = call.world.caller(call.caller).cap or ()
    return {
        "deployment": [role for scope, role in cap if not scope],
        "tenants": {scope: [role] for scope, role in cap if scope},
    }


@dataclass(frozen=True, slots=True)
class Thing:
    """What a parameter of a path names. `foreign`: one that only beta has."""

    own: Callable[[Call], str]
    foreign: Callable[[World], str] | None = None


def _numbered(number: int) -> Thing:
    """The thing with a number, of which each tenant has its own."""
    return Thing(lambda call: id_of(call.tenant, number), lambda _: id_of(BETA, number))


def _named(name: str) -> Thing:
    """A thing that both tenants have, and beta one more of."""
    return Thing(lambda _: name, lambda _: name + ONLY_BETA)


THINGS: Final[Mapping[str, Thing]] = {
    "audience": _named(VIP),
    "dead_letter": Thing(lambda _: "17"),
    "export": _numbered(DOWNLOAD),
    "feed": _named(MEMBERS),
    "job": _numbered(JOB),
    "kind": Thing(lambda _: "events"),
    "operation": Thing(
        lambda call: _operation(call.world, call.tenant, call.caller),
        lambda world: _operation(world, BETA, "acme-admin"),
    ),
    "principal": Thing(lambda call: call.world.principals["stranger"]),
    "schedule": _named(NIGHTLY),
    "segment": _named(BUYERS),
    "session": Thing(_own_session),
    "token": Thing(_token_in_tenant, lambda world: world.tokens["beta-viewer"].token_id),
    "upload": _numbered(UPLOAD),
    "version": Thing(lambda _: "1"),
}
"""By parameter of paths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """How a call differs from what the document says.

    `things`: in place of those of `THINGS`. `body`: in place of its example. `refused`: codes for callers that have the
    right. `recorded`: whether a call leaves an entry in the audit trail; None: changes do.
    """

    things: Mapping[str, Thing] = field(default_factory=dict)
    query: Callable[[Call], Mapping[str, str]] = lambda _: {}
    body: Callable[[Call], Any] | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
    recorded: bool | None = None


ROWS: Final[Mapping[str, Row]] = {
    "create_tenant": Row(body=lambda _: {"tenant": "new"}),
    "replace_deployment_grants": Row(body=lambda call: _grants(call, DEPLOYMENT)),
    "create_own_token": Row(
        body=lambda call: {"name": "new", **_capped_as(call)},
        refused={"stranger": "CAP_TOO_WIDE"},  # no rights to put into one
    ),
    "prove_service": Row(query=lambda call: {"token": _own_token(call), "nonce": "0" * 64}),
    "revoke_own_token": Row(things={"token": Thing(_own_token)}),
    "find_job": Row(
        things={"job": Thing(lambda call: id_of(BETA if call.caller.startswith(BETA) else call.tenant, JOB))},
        refused={"stranger": "UNKNOWN_JOB"},
    ),
    "get_rejects": Row(recorded=True),
    "get_rejects_file": Row(recorded=True),
    "start_import": Row(body=lambda call: {"audience": VIP, "source": f"s3://{CRM}/{call.tenant}/vip.csv"}),
    "list_export_files": Row(recorded=True),
    "retry_job": Row(things={"job": _numbered(FAILED_JOB)}),
    "create_audience": Row(body=lambda _: {"audience": "new"}),
    "roll_back": Row(body=lambda _: {"version": 1}),
    "delete_audience": Row(things={"audience": _named(QUIET)}),
    "create_segment": Row(body=lambda _: {"segment": "new", "rule": 'ever("x")'}),
    "create_schedule": Row(
        body=lambda call: {
            "name": "new",
            "expression": "rate(1 day)",
            "import": {"audience": VIP, "source": f"s3://{CRM}/{call.tenant}/vip.csv"},
        }
    ),
    "create_feed": Row(body=lambda call: {"name": "new", "segment": BUYERS, "to": f"kafka://{call.tenant}.buyers"}),
    "send_test_notification": Row(body=lambda call: {"channel": "email", "address": _recipient(call)}),
    "replace_consent": Row(body=lambda _: {"items": [{"audience": VIP, "destination": "download"}]}),
    "presign_parts": Row(things={"upload": _numbered(LARGE_UPLOAD)}),
    "replace_grants": Row(body=lambda call: _grants(call, call.tenant)),
    "create_token": Row(body=lambda _: {"name": "new", "roles": ["viewer"]}),
    "compare_versions": Row(body=lambda _: {"earlier": 1, "later": 2}),
    "run_query": Row(body=lambda _: {"sql": f"FROM {VIP}"}),
    "stream_query": Row(body=lambda _: {"sql": f"FROM {VIP}"}),
    "resend_notifications": Row(body=lambda _: {"notifications": None}),
    "list_dead_letters": Row(recorded=True),
    "get_dead_letter": Row(recorded=True),
    "replay_dead_letters": Row(body=lambda _: {"dead_letters": [17]}),
    "dismiss_dead_letters": Row(body=lambda _: {"dead_letters": None, "code": "undecodable"}),
}
"""Of the operations that differ from their document."""


def row_of(operation: Operation) -> Row:
    """The row of an operation."""
    return ROWS.get(operation.name, Row())


def things_of(operation: Operation) -> Mapping[str, Thing]:
    """The things in its path, by parameter."""
    names = [name for name in operation.parameters("path") if name != "tenant"]
    return {name: row_of(operation).things.get(name, THINGS[name]) for name in names}


def body_of(operation: Operation, call: Call) -> Any:
    """A body that it accepts, or None."""
    made = row_of(operation).body
    return operation.body.get("example") if made is None else made(call)


def headers_of(operation: Operation, call: Call, client: AsgiClient) -> Mapping[str, str]:
    """The headers that it requires. If-Match is the ETag of the nearest path that can be read."""
    names = {name.lower() for name in operation.parameters("header")}
    found = {"Idempotency-Key": f"key {next(_KEYS)}"} if "idempotency-key" in names else {}
    if "if-match" in names:
        path = operation.path
        while "get" not in DOCUMENT["paths"].get(path, {}):
            path = path.rpartition("/")[0]
        admin = call.world.tokens["deployment-admin"].text.reveal()
        found["If-Match"] = client.get(path_of(path, operation, call), token=admin).headers["etag"]
    return found


def path_of(path: str, operation: Operation, call: Call, values: Mapping[str, str] | None = None) -> str:
    """A path, filled with the things of an operation. `values` replace some."""
    things = {"tenant": Thing(lambda _: call.tenant), **things_of(operation)}
    return re.sub(r"{(\w+)}", lambda name: (values or {}).get(name[1]) or things[name[1]].own(call), path)


def send(
    client: AsgiClient,
    operation: Operation,
    call: Call,
    *,
    token: str | None = None,
    values: Mapping[str, str] | None = None,
) -> Answer:
    """Call an operation. `values` replace those of its path."""
    return client.send(
        operation.method,
        path_of(operation.path, operation, call, values),
        token=token,
        query=row_of(operation).query(call),
        body=body_of(operation, call),
        headers=headers_of(operation, call, client) if call.tenant in TENANTS else {},
        until=operation.until,
    )
