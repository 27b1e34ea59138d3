"""A login by the identity provider, in two steps: to the provider, and back with a code.

What the second step needs is kept under the digest of `state`, which the browser has in a cookie as well: an answer
that the browser did not ask for is refused, and so is one that comes a second time, or after ten minutes.
"""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from orchestration.access.oidc.id_tokens import refused
from orchestration.access.oidc.pkce import challenge_of
from orchestration.access.oidc.provider import Provider
from orchestration.access.opaque import fresh_opaque, opaque_digest
from orchestration.composition.service import Services
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.platform.settings import Secret
from orchestration.records.access import Principal

LIFE_MS: Final = 10 * 60 * 1000
_ERROR: Final = re.compile(r"[a-z_]{1,60}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the provider sends back through the browser."""

    code: str | None
    state: str | None
    issuer: str | None
    error: str | None


def begin_login(
    services: Services, provider: Provider, *, redirect_uri: str, then: Mapping[str, Any]
) -> tuple[str, Secret]:
    """The provider's address for the browser, and the state for its cookie. `then`: what `end_login` returns."""
    state, nonce, verifier = (fresh_opaque() for _ in range(3))
    url = provider.authorization_url(
        redirect_uri=redirect_uri,
        state=state.reveal(),
        nonce=nonce.reveal(),
        challenge=challenge_of(verifier.reveal()),
    )
    record = {"nonce": nonce.reveal(), "verifier": verifier.reveal(), "then": dict(then)}
    expires_at_ms = now_ms() + LIFE_MS
    services.codes.put("login", str(opaque_digest(state.reveal())), record, expires_at_ms=expires_at_ms)
    return url, state


def end_login(
    services: Services, provider: Provider, answer: Answer, *, cookie: str | None, redirect_uri: str
) -> tuple[Principal, Mapping[str, Any]]:
    """Who has logged in, and what was to happen then. Raises `UserError` LOGIN_REFUSED.

    `cookie`: the state that the browser has.
    """
    state, settings = answer.state or "", provider.settings
    digest = opaque_digest(state)
    if digest is None or cookie is None or not hmac.compare_digest(state.encode(), cookie.encode()):
        raise refused("this browser did not ask for it")
    found = services.codes.take("login", digest, now_ms=now_ms())
    if found is None:
        raise refused("it was used before, or came too late")
    if answer.issuer != settings.issuer and (answer.issuer is not None or provider.metadata().names_issuer):
        raise refused("it comes from another issuer")
    if answer.error is not None:
        raise refused(f"it says {answer.error}" if _ERROR.fullmatch(answer.error) else "it denies the login")
    if answer.code is None:
        raise refused("it has no code")
    claims = provider.claims(
        code=answer.code,
        verifier=found["verifier"],
        redirect_uri=redirect_uri,
        nonce=found["nonce"],
        now_s=now_ms() / 1000,
    )
    principal = services.identities.enter(
        settings.issuer,
        claims.subject,
        name=claims.name,
        roles=settings.granted(claims.groups),
        new_id=fresh_id(),
        now_ms=now_ms(),
    )
    return principal, found["then"]
