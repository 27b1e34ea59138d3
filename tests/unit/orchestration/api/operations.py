"""How each operation of the OpenAPI document is called, for the tests that go through all of them."""

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from orchestration.access.policy import DEPLOYMENT, Action
from orchestration.access.revisions import revision_of
from orchestration.access.views.audiences import with_recipients
from orchestration.api.etags import etag
from orchestration.catalog.access_records import Session
from orchestration.catalog.operations import Operation as AnOperation
from orchestration.platform.clock import fresh_id, fresh_secret, now_ms
from orchestration.records.access import Grants
from orchestration.records.audiences import Audience
from orchestration.records.schedules import Schedule
from schemas.ids import AudienceName, TenantName
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


def _seen(call: Call, scope: str) -> Mapping[str, str]:
    return {"If-Match": etag(revision_of(call.world.services.principals.grants(scope), Grants.revision))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`values`: of the path. `foreign`: values that only beta has, for operations on one thing.

    `recorded`: whether a call leaves an entry in the audit trail; None: changes do.
    `until`: when the caller leaves a stream.
    """

    values: Mapping[str, Callable[[Call], str]] = field(default_factory=dict)
    query: Callable[[Call], Mapping[str, str]] = lambda _: {}
    body: Callable[[Call], Any] = lambda _: None
    headers: Callable[[Call], Mapping[str, str]] = lambda _: {}
    foreign: Mapping[str, Callable[[World], str]] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    """Refusal codes for callers that have the right."""
    recorded: bool | None = None
    until: Callable[[bytes], bool] | None = None


JOBS: Final = Row(values={"job": _job}, foreign={"job": lambda _: id_of("beta", JOB)})


def _numbered(name: str, number: int, **given: Any) -> Row:
    """A row of an operation on the thing `number` of a tenant."""
    return Row(
        values={name: lambda call: id_of(call.tenant, number)},
        foreign={name: lambda _: id_of("beta", number)},
        **given,
    )


def _named(name: str, value: str, **given: Any) -> Row:
    """A row of an operation on a thing that both tenants have, and beta one more of."""
    return Row(values={name: lambda _: value}, foreign={name: lambda _: value + ONLY_BETA}, **given)


def _tag(record: Mapping[str, Any], members: tuple[str, ...]) -> Mapping[str, str]:
    return {"If-Match": etag(revision_of(record, members))}


def _places(call: Call) -> Mapping[str, str]:
    found = call.world.services.places.all()
    return _tag({"items": [{"tenant": name, "places": list(of)} for name, of in found.items()]}, ("items",))


def _audience(call: Call, name: AudienceName = VIP) -> Mapping[str, str]:
    services, tenant = call.world.services, TenantName(call.tenant)
    found = services.audiences.get(tenant, name)
    return {"If-Match": etag(revision_of(with_recipients(services, found), Audience.revision))}


def _segment(call: Call) -> Mapping[str, str]:
    found = call.world.services.segments.one(TenantName(call.tenant), BUYERS, partitions=1, now_ms=0)
    return {"If-Match": etag(revision_of(found, found.revision))}


def _schedule(call: Call) -> Mapping[str, str]:
    schedules = call.world.services.schedules
    found = schedules.shown(schedules.get(TenantName(call.tenant), NIGHTLY))
    return {"If-Match": etag(revision_of(found, Schedule.revision))}


def _key(_: Call) -> Mapping[str, str]:
    return {"Idempotency-Key": f"key {next(_KEYS)}"}


A_SEGMENT: Final = Row(values={"segment": lambda _: BUYERS}, foreign={"segment": lambda _: BUYERS + ONLY_BETA})
TOKEN: Final = Row(
    values={"token": _token_in_tenant}, foreign={"token": lambda world: world.tokens["beta-viewer"].token_id}
)
A_PRINCIPAL: Final = Row(values={"principal": lambda call: call.world.principals["stranger"]})
AN_OPERATION: Final = Row(
    values={"operation": lambda call: _operation(call.world, call.tenant, call.caller)},
    foreign={"operation": lambda world: _operation(world, BETA, "acme-admin")},
)
ROWS: Final[Mapping[str, Row]] = {
    "get_health": Row(),
    "get_me": Row(),
    "list_tenants": Row(),
    "create_tenant": Row(body=lambda _: {"tenant": "new"}),
    "list_principals": Row(),
    "create_principal": Row(body=lambda _: {"kind": "service", "name": "new"}),
    "get_principal": A_PRINCIPAL,
    "withdraw_access": A_PRINCIPAL,
    "get_deployment_grants": Row(),
    "replace_deployment_grants": Row(
        body=lambda call: _grants(call, DEPLOYMENT), headers=lambda call: _seen(call, DEPLOYMENT)
    ),
    "list_own_tokens": Row(),
    "create_own_token": Row(
        body=lambda call: {"name": "new", **_capped_as(call)},
        refused={"stranger": "CAP_TOO_WIDE"},  # no rights to put into one
    ),
    "list_sessions": Row(),
    "end_session": Row(values={"session": _own_session}),
    "create_console_code": Row(),
    "create_login_token": Row(body=lambda _: {"code": "x" * 43, "verifier": "x" * 43}),
    "prove_service": Row(query=lambda call: {"token": _own_token(call), "nonce": "0" * 64}),
    "revoke_own_token": Row(values={"token": _own_token}),
    "list_all_jobs": Row(),
    "find_job": Row(
        values={"job": lambda call: id_of("beta" if call.caller.startswith("beta") else call.tenant, JOB)},
        refused={"stranger": "UNKNOWN_JOB"},
    ),
    "list_jobs": Row(),
    "get_job": JOBS,
    "get_receipt": JOBS,
    "get_rejects": replace(JOBS, recorded=True),
    "get_rejects_file": replace(JOBS, recorded=True),
    "start_import": Row(
        body=lambda call: {"audience": VIP, "source": f"s3://{CRM}/{call.tenant}/vip.csv"}, headers=_key
    ),
    "start_export": Row(body=lambda _: {"audience": VIP, "to": "download"}, headers=_key),
    "list_export_files": _numbered("export", DOWNLOAD, recorded=True),
    "cancel_job": JOBS,
    "retry_job": _numbered("job", FAILED_JOB, body=lambda _: {"force": True}, headers=_key),
    "create_upload": Row(body=lambda _: {"name": "a.csv", "size": 3, "content_type": "text/csv"}, headers=_key),
    "get_places": Row(),
    "replace_places": Row(
        body=lambda _: {"items": [{"tenant": "acme", "places": ["s3://crm/acme/"]}]}, headers=_places
    ),
    "create_audience": Row(body=lambda _: {"audience": "new"}),
    "configure_audience": _named("audience", VIP, body=lambda _: {"retention": {"versions": 5}}, headers=_audience),
    "roll_back": _named("audience", VIP, body=lambda _: {"version": 1}, headers=_key),
    "compact_audience": _named("audience", VIP, body=lambda _: {"target_mb": 256}, headers=_key),
    "expire_versions": _named("audience", VIP, body=lambda _: {"versions": 1}, headers=_key),
    "rename_audience": _named(
        "audience", VIP, body=lambda _: {"audience": "gold"}, headers=lambda call: {**_audience(call), **_key(call)}
    ),
    "delete_audience": _named("audience", QUIET, headers=lambda call: _audience(call, QUIET)),
    "pin_version": Row(
        values={"audience": lambda _: VIP, "version": lambda _: "1"}, foreign={"audience": lambda _: VIP + ONLY_BETA}
    ),
    "unpin_version": Row(
        values={"audience": lambda _: VIP, "version": lambda _: "1"}, foreign={"audience": lambda _: VIP + ONLY_BETA}
    ),
    "create_segment": Row(body=lambda _: {"segment": "new", "rule": 'ever("x")'}),
    "edit_segment": _named("segment", BUYERS, body=lambda _: {"rule": 'never("x")'}, headers=_segment),
    "delete_segment": _named("segment", BUYERS, headers=_segment),
    "change_segment_state": _named("segment", BUYERS, body=lambda _: {"state": "paused"}),
    "snapshot_segment": _named("segment", BUYERS, body=lambda _: {}, headers=_key),
    "create_schedule": Row(
        body=lambda call: {
            "name": "new",
            "expression": "rate(1 day)",
            "import": {"audience": VIP, "source": f"s3://{CRM}/{call.tenant}/vip.csv"},
        }
    ),
    "change_schedule": _named("schedule", NIGHTLY, body=lambda _: {"enabled": False}, headers=_schedule),
    "delete_schedule": _named("schedule", NIGHTLY, headers=_schedule),
    "run_schedule": _named("schedule", NIGHTLY, headers=_key),
    "change_recipients": Row(body=lambda _: {"email": ["x@y.example"]}),
    "send_test_notification": Row(body=lambda call: {"channel": "email", "address": _recipient(call)}),
    "replace_recipients": Row(body=lambda _: {"email": ["x@y.example"], "webhook": []}),
    "get_upload": _numbered("upload", UPLOAD),
    "delete_upload": _numbered("upload", UPLOAD),
    "presign_parts": _numbered("upload", LARGE_UPLOAD, body=lambda _: {"parts": [1, 2]}),
    "complete_upload": _numbered("upload", UPLOAD),
    "list_audiences": Row(),
    "get_audience": Row(values={"audience": lambda _: VIP}, foreign={"audience": lambda _: VIP + ONLY_BETA}),
    "get_activity": Row(values={"kind": lambda _: "events"}),
    "configure_activity": Row(values={"kind": lambda _: "events"}, body=lambda _: {"settings": {"timezone": "UTC"}}),
    "list_versions": Row(values={"audience": lambda _: VIP}, foreign={"audience": lambda _: VIP + ONLY_BETA}),
    "get_version": Row(
        values={"audience": lambda _: VIP, "version": lambda _: "1"}, foreign={"audience": lambda _: VIP + ONLY_BETA}
    ),
    "list_segments": Row(),
    "get_segment": A_SEGMENT,
    "count_users": Row(body=lambda _: {"rule": 'ever("a")'}),
    "list_names": Row(),
    "look_up_user": Row(body=lambda _: {"user": "ann"}),
    "measure_segment": A_SEGMENT,
    "explain_membership": replace(A_SEGMENT, body=lambda _: {"user": "ann"}),
    "run_query": Row(body=lambda _: {"sql": f"FROM {VIP}"}),
    "stream_query": Row(body=lambda _: {"sql": f"FROM {VIP}"}),
    "list_rule_versions": A_SEGMENT,
    "list_schedules": Row(),
    "get_schedule": Row(values={"schedule": lambda _: NIGHTLY}, foreign={"schedule": lambda _: NIGHTLY + ONLY_BETA}),
    "list_recipients": Row(),
    "get_grants": Row(),
    "replace_grants": Row(body=lambda call: _grants(call, call.tenant), headers=lambda call: _seen(call, call.tenant)),
    "list_tokens": Row(),
    "create_token": Row(body=lambda _: {"name": "new", "roles": ["viewer"]}),
    "revoke_token": TOKEN,
    "list_audit": Row(),
    "list_whole_audit": Row(),
    "get_connections": Row(),
    "list_notifications": Row(),
    "resend_notifications": Row(body=lambda _: {"notifications": None}),
    "get_operation": AN_OPERATION,
    "get_check": AN_OPERATION,
    "compare_versions": Row(
        values={"audience": lambda _: VIP},
        body=lambda _: {"earlier": 1, "later": 2},
        foreign={"audience": lambda _: VIP + ONLY_BETA},
    ),
    "write_file": _named("audience", VIP, body=lambda call: {"to": f"s3://{CRM}/{call.tenant}/vip.parquet"}),
    "check_segment": replace(A_SEGMENT, body=lambda _: {}),
    "check_file": Row(body=lambda _: {"source": "s3://inbox/acme/a.csv"}),
    "list_workers": Row(),
    "get_lag": Row(),
    "list_samples": Row(),
    "stream_deployment_events": Row(until=lambda received: b"event: ready" in received),
    "list_dead_letters": Row(recorded=True),
    "get_dead_letter": Row(values={"dead_letter": lambda _: "17"}, recorded=True),
    "replay_dead_letters": Row(body=lambda _: {"dead_letters": [17]}),
    "dismiss_dead_letters": Row(body=lambda _: {"dead_letters": None, "code": "undecodable"}),
    "stream_events": Row(until=lambda received: b"event: ready" in received),
}


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
    known = call.tenant in TENANTS
    return client.send(
        operation.method,
        path,
        token=token,
        query=row.query(call),
        body=row.body(call),
        headers=row.headers(call) if known else {},
        until=row.until,
    )
