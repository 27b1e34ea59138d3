"""Who may do what: principals, grants, tokens, sessions, tenants."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from orchestration.records.fields import EXAMPLE_ID, EXAMPLE_TIME, About, Example, Id, Time, extended

PrincipalKind = Literal["person", "service"]
"""service: an account of programs, which stays when people leave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A person or a service account."""

    principal: Id
    kind: PrincipalKind
    name: str
    created_at: Time
    example: ClassVar[Example] = {
        "principal": EXAMPLE_ID,
        "kind": "person",
        "name": "ann",
        "created_at": EXAMPLE_TIME,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant(Principal):
    """A principal with its roles in a scope: those granted directly, and those of its groups at its last login."""

    roles: Sequence[str]
    group_roles: Sequence[str]
    example: ClassVar[Example] = {**Principal.example, "roles": ["admin"], "group_roles": []}


@dataclass(frozen=True, slots=True, kw_only=True)
class Grants:
    """The roles in a tenant, or in the deployment. The header ETag has their revision."""

    items: Sequence[Grant]
    revision: ClassVar = ("direct",)
    example: ClassVar[Example] = {"items": [Grant.example]}

    @property
    def direct(self) -> list[tuple[str, Sequence[str]]]:
        """Roles granted directly: a login that changes those of groups makes no change of these stale."""
        return [(one.principal, one.roles) for one in self.items if one.roles]


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token without its secret, and the roles it is limited to."""

    token: Id
    name: str
    principal: Id
    deployment: Sequence[str]
    tenants: Mapping[str, Sequence[str]]
    created_at: Time
    expires_at: Time
    revoked_at: Time | None
    used_at: Annotated[Time | None, About("At most an hour behind.")]
    example: ClassVar[Example] = {
        "token": EXAMPLE_ID,
        "name": "nightly loader",
        "principal": EXAMPLE_ID,
        "deployment": [],
        "tenants": {"acme": ["operator"]},
        "created_at": EXAMPLE_TIME,
        "expires_at": EXAMPLE_TIME,
        "revoked_at": None,
        "used_at": EXAMPLE_TIME,
    }

    def with_secret(self, secret: str) -> "MadeToken":
        """What its maker gets."""
        return extended(MadeToken, self, secret=secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeToken(Token):
    """A new token. `secret` is shown this once."""

    secret: str = field(repr=False)
    example: ClassVar[Example] = {**Token.example, "secret": "mst_" + EXAMPLE_ID + "_" + "x" * 43 + "_xxxxxx"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PrincipalDetail(Principal):
    """A principal with its present roles, granted directly and by groups, and its newest tokens."""

    deployment: Sequence[str]
    tenants: Mapping[str, Sequence[str]]
    tokens: Sequence[Token]
    example: ClassVar[Example] = {
        **Principal.example,
        "deployment": [],
        "tenants": {"acme": ["operator"]},
        "tokens": [Token.example],
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session of a browser. It ends at `expires_at` unless it is used before, and a day after its login anyway."""

    session: Id
    made_by: Annotated[Literal["token", "login"], About("token: the session ends with the token.")]
    created_at: Time
    seen_at: Time
    expires_at: Time
    example: ClassVar[Example] = {
        "session": EXAMPLE_ID,
        "made_by": "token",
        "created_at": EXAMPLE_TIME,
        "seen_at": EXAMPLE_TIME,
        "expires_at": EXAMPLE_TIME,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A tenant, and what the caller may do in it."""

    tenant: str
    actions: Sequence[str]
    example: ClassVar[Example] = {"tenant": "acme", "actions": ["own_account", "read", "read_jobs"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """The actions that the caller may take at this moment."""

    deployment: Sequence[str]
    every_tenant: Sequence[str]
    tenants: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
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
