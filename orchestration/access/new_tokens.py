"""Makes tokens: rules first, then the row."""

from collections.abc import Collection

from orchestration.access.grants import check_cap, check_roles, lifetime_ms
from orchestration.access.policy import Rights, Role, Scope
from orchestration.access.tokens import Token
from orchestration.catalog.access_records import ApiToken
from orchestration.catalog.api_tokens import TokenStore
from orchestration.platform.clock import fresh_id, fresh_secret, now_ms
from orchestration.platform.settings import Secret
from orchestration.records import access as answers
from schemas.ids import JobId


def make_token(
    tokens: TokenStore,
    *,
    owner: JobId,
    name: str,
    cap: Collection[tuple[Scope, Role]],
    limit: Rights,
    days: int | None = None,
    life_ms: int | None = None,
) -> tuple[answers.Token, Secret]:
    """A token of a principal, limited to `cap`, which must not exceed `limit`; and its text, which nothing keeps.

    It lasts `life_ms`, else `days`, else the default lifetime.

    Raises `UserError` UNKNOWN_ROLE, BAD_NAME, CAP_EMPTY, CAP_TOO_WIDE, BAD_LIFETIME.
    """
    for scope in {scope for scope, _ in cap}:
        check_roles(scope, [role for one, role in cap if one == scope])
    check_cap(cap, limit)
    at_ms = now_ms()
    secret = Token.make(fresh_id(), fresh_secret())
    token = ApiToken(
        token_id=secret.token_id,
        principal_id=owner,
        name=name,
        digest=secret.digest,
        created_at_ms=at_ms,
        expires_at_ms=at_ms + (life_ms or lifetime_ms(days)),
        revoked_at_ms=None,
        cap=tuple(sorted(set(cap))),
    )
    tokens.add(token)
    return token.shown(), secret.text
