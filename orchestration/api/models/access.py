"""What the API answers and takes about principals, grants, tokens and the audit trail."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from orchestration.access.bodies.common import (
    AT,
    JOB,
    Example,
    Id,
    Name,
    ResourceName,
    Role,
    Shape,
    TenantName,
    Time,
    page_of,
)

Roles = Annotated[list[Role], Field(max_length=10)]


class Principal(Shape):
    """A person or a service account."""

    principal: Id
    kind: Literal["person", "service"]
    name: str
    created_at: Time
    example: ClassVar[Example] = {"principal": JOB, "kind": "person", "name": "ann", "created_at": AT}


class PrincipalPage(Shape):
    """Principals by name."""

    items: list[Principal]
    next: str | None
    example: ClassVar[Example] = page_of(Principal.example)


class NewPrincipal(Shape):
    """A principal to create; it has no roles yet."""

    kind: Literal["person", "service"]
    name: Name
    example: ClassVar[Example] = {"kind": "service", "name": "nightly loader"}


class Grant(Principal):
    """A principal with its roles in a scope: those granted directly, and those of its groups at its last login."""

    roles: list[str]
    group_roles: list[str]
    example: ClassVar[Example] = {**Principal.example, "roles": ["admin"], "group_roles": []}


class Grants(Shape):
    """The roles in a tenant, or in the deployment. The header ETag has their revision."""

    items: list[Grant]
    example: ClassVar[Example] = {"items": [Grant.example]}


class WantedGrant(Shape):
    """All roles of a principal in the scope."""

    principal: Id
    roles: Roles


class WantedGrants(Shape):
    """All roles in a scope; roles that are not listed are taken away."""

    items: Annotated[list[WantedGrant], Field(max_length=1000)]
    example: ClassVar[Example] = {"items": [{"principal": JOB, "roles": ["admin"]}]}


class Token(Shape):
    """A token without its secret, and the roles it is limited to."""

    token: Id
    name: str
    principal: Id
    deployment: list[str]
    tenants: dict[str, list[str]]
    created_at: Time
    expires_at: Time
    revoked_at: Time | None
    used_at: Annotated[Time | None, Field(description="At most an hour behind.")]
    example: ClassVar[Example] = {
        "token": JOB,
        "name": "nightly loader",
        "principal": JOB,
        "deployment": [],
        "tenants": {"acme": ["operator"]},
        "created_at": AT,
        "expires_at": AT,
        "revoked_at": None,
        "used_at": AT,
    }


class PrincipalDetail(Principal):
    """A principal with its present roles, granted directly and by groups, and its newest tokens."""

    deployment: list[str]
    tenants: dict[str, list[str]]
    tokens: list[Token]
    example: ClassVar[Example] = {
        **Principal.example,
        "deployment": [],
        "tenants": {"acme": ["operator"]},
        "tokens": [Token.example],
    }


class Session(Shape):
    """A session of a browser. It ends at `expires_at` unless it is used before, and a day after its login anyway."""

    session: Id
    made_by: Annotated[Literal["token", "login"], Field(description="token: the session ends with the token.")]
    created_at: Time
    seen_at: Time
    expires_at: Time
    example: ClassVar[Example] = {
        "session": JOB,
        "made_by": "token",
        "created_at": AT,
        "seen_at": AT,
        "expires_at": AT,
    }


class Sessions(Shape):
    """Sessions that have not ended, newest first."""

    items: list[Session]
    example: ClassVar[Example] = {"items": [Session.example]}


class ConsoleCode(Shape):
    """A code that works once, within a minute: `url` begins a session if it is entered in the address bar.

    `confirm_url` asks first, and may also be a link. `path`: that of `url`.
    """

    path: str
    url: str
    confirm_url: str
    expires_at: Time
    example: ClassVar[Example] = {
        "path": "/login/code?code=" + "x" * 43,
        "url": "https://muster.example/login/code?code=" + "x" * 43,
        "confirm_url": "https://muster.example/console/open?code=" + "x" * 43,
        "expires_at": AT,
    }


class ServiceProof(Shape):
    """`proof`: HMAC-SHA-256, in hexadecimal, over the lines `muster service proof`, nonce and `address`.

    Its key is the SHA-256 of the token. `address`: where the client has reached the service.
    """

    address: str
    proof: str
    example: ClassVar[Example] = {"address": "127.0.0.1:18480", "proof": "0" * 64}


class TokenPage(Shape):
    """Tokens, newest first."""

    items: list[Token]
    next: str | None
    example: ClassVar[Example] = page_of(Token.example)


class MadeToken(Token):
    """A new token. `secret` is shown this once."""

    secret: str
    example: ClassVar[Example] = {**Token.example, "secret": "mst_" + JOB + "_" + "x" * 43 + "_xxxxxx"}


class LoginCode(Shape):
    """The code of a login in a browser, and the verifier of the challenge that the login began with (RFC 7636)."""

    code: Annotated[str, Field(max_length=100)]
    verifier: Annotated[str, Field(max_length=128)]
    example: ClassVar[Example] = {"code": "x" * 43, "verifier": "x" * 43}


class NewTenantToken(Shape):
    """A token that reaches one tenant. `principal`: a service account of the tenant; the caller without it."""

    name: Name
    roles: Roles
    days: int | None = None
    principal: Id | None = None
    example: ClassVar[Example] = {"name": "nightly loader", "roles": ["operator"], "days": 90}


class NewToken(Shape):
    """A token of the caller, limited to these roles in the deployment and in tenants."""

    name: Name
    deployment: Roles = Field(default_factory=list)
    tenants: Annotated[dict[TenantName, Roles], Field(max_length=100)] = Field(default_factory=dict)
    days: int | None = None
    example: ClassVar[Example] = {"name": "laptop", "tenants": {"acme": ["analyst"]}, "days": 30}


class AuditEntry(Shape):
    """Who did what. `principal` and `request_id` are null for local commands and for Muster itself."""

    entry: Id
    at: Time
    job: Id | None
    actor: str
    action: str
    object: str
    arguments: dict[str, Any]
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    error: str | None
    principal: Id | None
    token: Id | None
    session: Id | None
    request_id: Id | None
    example: ClassVar[Example] = {
        "entry": JOB,
        "at": AT,
        "job": JOB,
        "actor": "ann",
        "action": "rejects",
        "object": "acme/vip",
        "arguments": {},
        "before": None,
        "after": None,
        "error": None,
        "principal": JOB,
        "token": JOB,
        "session": None,
        "request_id": JOB,
    }


class AuditPage(Shape):
    """Entries of the audit trail, newest first."""

    items: list[AuditEntry]
    next: str | None
    example: ClassVar[Example] = page_of(AuditEntry.example)


class Tenant(Shape):
    """A tenant, and what the caller may do in it."""

    tenant: str
    actions: list[str]
    example: ClassVar[Example] = {"tenant": "acme", "actions": ["own_account", "read", "read_jobs"]}


class TenantPage(Shape):
    """Tenants by name."""

    items: list[Tenant]
    next: str | None
    example: ClassVar[Example] = page_of(Tenant.example)


class NewTenant(Shape):
    """A tenant to create."""

    tenant: ResourceName
    example: ClassVar[Example] = {"tenant": "acme"}


class Rights(Shape):
    """The actions that the caller may take at this moment."""

    deployment: list[str]
    every_tenant: list[str]
    tenants: dict[str, list[str]]


class Me(Principal):
    """The caller, by a token or by a session."""

    token: Token | None
    session: Session | None
    rights: Rights
    example: ClassVar[Example] = {
        **Principal.example,
        "token": Token.example,
        "session": None,
        "rights": {
            "deployment": ["own_account"],
            "every_tenant": [],
            "tenants": {"acme": ["own_account", "read_jobs"]},
        },
    }


class Health(Shape):
    """The service answers, and so does the catalog."""

    status: Literal["ok"]
    version: str
    example: ClassVar[Example] = {"status": "ok", "version": "0.1.0"}
