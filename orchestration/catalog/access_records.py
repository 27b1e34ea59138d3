"""Rows of tokens and sessions, with the digests of their secrets, which stay inside."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, TypedDict

from orchestration.catalog.selected import answer_of
from orchestration.platform.clock import iso
from orchestration.records import access as answers
from schemas.ids import JobId

IDLE_MS: Final = 8 * 3600 * 1000
"""A session that is not used for this long has ended."""


class Roles(TypedDict):
    """Roles by scope."""

    deployment: list[str]
    tenants: dict[str, list[str]]


def by_scope(held: Collection[tuple[str, str]]) -> Roles:
    """(scope, role)s, sorted, with the deployment apart from tenants."""
    tenants: dict[str, list[str]] = {}
    for scope, role in sorted(held):
        tenants.setdefault(scope, []).append(role)
    return {"deployment": tenants.pop("", []), "tenants": tenants}


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

    def shown(self, scope: str | None = None) -> answers.Token:
        """The token without its digest, [with its roles in one scope alone]."""
        roles = by_scope([one for one in self.cap if scope is None or one[0] == scope])
        return answer_of(answers.Token, self, token=self.token_id, principal=self.principal_id, **roles)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A token, its owner, and the (scope, role)s that the owner has at present."""

    token: ApiToken
    principal: answers.Principal
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

    @property
    def ends_at_ms(self) -> int:
        """When it ends unless it is used before."""
        return min(self.expires_at_ms, self.seen_at_ms + IDLE_MS)

    def shown(self) -> answers.Session:
        """The session without its digest."""
        made_by = "login" if self.token_id is None else "token"
        expires_at = iso(self.ends_at_ms)
        return answer_of(answers.Session, self, session=self.session_id, made_by=made_by, expires_at=expires_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCredentials:
    """A session, its owner, the (scope, role)s that the owner has at present, and the session's token at present."""

    session: Session
    principal: answers.Principal
    granted: frozenset[tuple[str, str]]
    token: ApiToken | None
