"""Who calls: from a token to a principal and its rights."""

from dataclasses import dataclass
from typing import Final

from orchestration.access.policy import Rights, Role, Scope
from orchestration.access.tokens import Token
from orchestration.catalog.access_records import ApiToken, Credentials, Session
from orchestration.catalog.api_tokens import TokenStore
from orchestration.records.access import Principal
from schemas.errors import UserError
from schemas.ids import JobId

_NOBODY: Final = "0" * 64
"""Compared with the digest of a token with an unknown id, so that both answers take the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The principal of one request, with the rights of its token or session at this moment.

    A session by a token has both. `note`: on whose behalf it says that it acts, which grants nothing.
    """

    principal: Principal
    rights: Rights
    request_id: JobId
    token: ApiToken | None = None
    session: Session | None = None
    note: str = ""

    @property
    def principal_id(self) -> JobId:
        """The id of the principal."""
        return JobId(self.principal.principal)

    @property
    def cap(self) -> tuple[tuple[Scope, Role], ...] | None:
        """What the token is limited to. None: a session of a login, which is not limited."""
        return None if self.token is None else self.token.cap


def authenticate(tokens: TokenStore, text: str, *, request_id: JobId, now_ms: int) -> Caller:
    """The caller behind a token, with the rights that both the token's cap and its owner's present grants allow.

    Raises `UserError` BAD_TOKEN for other texts, TOKEN_REFUSED for an unknown token, TOKEN_REVOKED, TOKEN_EXPIRED.
    """
    given = Token.parse(text)
    found = tokens.credentials(given.token_id)
    matches = given.matches(_NOBODY if found is None else found.token.digest)
    if found is None or not matches:
        raise UserError("TOKEN_REFUSED", "the token is unknown to this service; get another with `muster login`")
    return caller_by_token(found, request_id=request_id, now_ms=now_ms)


def caller_by_token(found: Credentials, *, request_id: JobId, now_ms: int) -> Caller:
    """The caller behind a token that the catalog has. Raises `UserError` TOKEN_REVOKED, TOKEN_EXPIRED."""
    token_id = found.token.token_id
    if found.token.revoked_at_ms is not None:
        raise UserError("TOKEN_REVOKED", f"token {token_id} was revoked; get another with `muster login`")
    if found.token.expires_at_ms <= now_ms:
        raise UserError("TOKEN_EXPIRED", f"token {token_id} has expired; get another with `muster login`")
    return Caller(
        principal=found.principal,
        token=found.token,
        rights=Rights.of(found.token.cap).within(Rights.of(found.granted)),
        request_id=request_id,
    )
