"""Catalog records of principals, their grants and tokens, as frozen values."""

from dataclasses import dataclass
from typing import Literal

from schemas.ids import JobId

PrincipalKind = Literal["person", "service"]
"""service: an account of programs, which stays when people leave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A person or a service account. Names are unique."""

    principal_id: JobId
    kind: PrincipalKind
    name: str
    created_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRoles:
    """A principal with its roles in one scope, sorted: those given by hand, and those of its groups."""

    principal: Principal
    roles: tuple[str, ...]
    group_roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiToken:
    """A token without its secret. `cap`: the (scope, role)s it is limited to, sorted."""

    token_id: JobId
    principal_id: JobId
    name: str
    digest: str
    created_at_ms: int
    expires_at_ms: int
    revoked_at_ms: int | None
    cap: tuple[tuple[str, str], ...]
    used_at_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A token, its owner, and the (scope, role)s that the owner has at present."""

    token: ApiToken
    principal: Principal
    granted: frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session of a browser, without its cookie. `token_id`: the token that it stands for; None: it was a login."""

    session_id: JobId
    principal_id: JobId
    digest: str
    token_id: JobId | None
    created_at_ms: int
    seen_at_ms: int
    expires_at_ms: int
    revoked_at_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCredentials:
    """A session, its owner, the (scope, role)s that the owner has at present, and the session's token at present."""

    session: Session
    principal: Principal
    granted: frozenset[tuple[str, str]]
    token: ApiToken | None
