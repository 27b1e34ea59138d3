"""What the API answers, as types. docs/openapi.json describes every member; jobs keep their members as they are."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

Record = Mapping[str, Any]
"""A job, receipt, audience, segment, schedule or audit entry."""


class Principal(TypedDict):
    """A person or a service account."""

    principal: str
    kind: str
    name: str
    created_at: str


class HeldRoles(Principal):
    """A principal with its roles in a scope: those granted directly, and those of its groups."""

    roles: list[str]
    group_roles: list[str]


class Grants(TypedDict):
    """The roles in a scope, with the ETag of their revision."""

    items: list[HeldRoles]
    etag: str


class Token(TypedDict):
    """A token without its secret, and the roles that it is limited to."""

    token: str
    name: str
    principal: str
    deployment: list[str]
    tenants: dict[str, list[str]]
    created_at: str
    expires_at: str
    revoked_at: str | None
    used_at: str | None


class Session(TypedDict):
    """A session of a browser. It ends at `expires_at` unless it is used before."""

    session: str
    made_by: str
    created_at: str
    seen_at: str
    expires_at: str


class MadeToken(Token):
    """A new token. `secret` is shown this once."""

    secret: str


class Rights(TypedDict):
    """Actions that the caller may take at this moment."""

    deployment: list[str]
    every_tenant: list[str]
    tenants: dict[str, list[str]]


class Me(Principal):
    """The caller, by a token or by a session."""

    token: Token | None
    session: Session | None
    rights: Rights


class Tenant(TypedDict):
    """A tenant, and what the caller may do in it."""

    tenant: str
    actions: list[str]


class Event(TypedDict):
    """One event of a stream.

    `kind` job, audience, segment, schedule: `value` is the whole present state of the thing `id`; None if it is gone.
    `ready`: everything that exists has come since the connection was made; the rest is gone. `lost`: the
    connection is lost; nothing after `as_of` is known until the next `ready`.
    """

    kind: str
    id: str | None
    value: Record | None
    as_of: str | None


Roles = Mapping[str, Sequence[str]]
"""Roles by principal, or by tenant."""
