"""Checks ID tokens (OpenID Connect Core, 3.1.3.7): for this application, just issued, and of this login."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from orchestration.platform.deferred import deferred
from schemas.errors import UserError

if TYPE_CHECKING:
    from joserfc.jwk import Key, KeySet
    from joserfc.jws import JWSRegistry

with deferred(__name__):
    import joserfc.errors
    from joserfc import jws, jwt

SKEW_S: Final = 300
"""Clocks of service and provider may differ by five minutes."""
MAX_TOKEN: Final = 64 * 1024
MAX_HEADER: Final = 8 * 1024
MAX_ID: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """The claims that are used. `subject` is the provider's id of the person; `name` is only shown."""

    subject: str
    name: str
    groups: frozenset[str]


def key_id(token: str) -> str | None:
    """The id of the key that signed a token, which is not checked yet. Raises `UserError` LOGIN_REFUSED."""
    if len(token) > MAX_TOKEN or token.count(".") != 2:
        raise refused("its token is not a JWT")
    try:
        found = jws.extract_compact(token.encode()).headers().get("kid")
    except (joserfc.errors.JoseError, ValueError, UnicodeError, TypeError) as exc:
        raise refused("its token cannot be read") from exc
    return None if found is None else str(found)


def key_of(keys: "KeySet", kid: str | None) -> "Key | None":
    """The key with an id; without an id, the only one there is."""
    if kid is None:
        return keys.keys[0] if len(keys.keys) == 1 else None
    return next((key for key in keys.keys if key.kid == kid), None)


def verify(
    token: str,
    key: "Key",
    *,
    issuer: str,
    client_id: str,
    nonce: str,
    algorithms: tuple[str, ...],
    groups_claim: str,
    now_s: float,
) -> Claims:
    """The claims of a valid token. Raises `UserError` LOGIN_REFUSED, which says what is wrong, and no value."""
    try:
        claims = jwt.decode(token, key, registry=_registry(algorithms)).claims
    except (joserfc.errors.JoseError, ValueError, TypeError) as exc:
        raise refused("the signature of its token is not valid, or by an algorithm that is not allowed") from exc
    if claims.get("iss") != issuer:
        raise refused("its token comes from another issuer")
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    party = claims.get("azp", client_id if len(audiences) == 1 else None)
    if client_id not in audiences or party != client_id:
        raise refused("its token is for another application")
    if not _number(claims, "exp") or claims["exp"] + SKEW_S <= now_s:
        raise refused("its token has expired; compare the clocks")
    if not _number(claims, "iat") or claims["iat"] - SKEW_S > now_s:
        raise refused("its token was issued in the future; compare the clocks")
    if "nbf" in claims and (not _number(claims, "nbf") or claims["nbf"] - SKEW_S > now_s):
        raise refused("its token is not valid yet; compare the clocks")
    given = claims.get("nonce")
    if not isinstance(given, str) or not hmac.compare_digest(given.encode(), nonce.encode()):
        raise refused("its token belongs to another login")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 1 <= len(subject) <= MAX_ID:
        raise refused("its token has no valid subject")
    return Claims(subject=subject, name=_name(claims, subject), groups=_groups(claims, groups_claim))


def refused(why: str) -> UserError:
    """The error of every login that fails."""
    return UserError("LOGIN_REFUSED", f"the identity provider's answer is refused: {why}; log in again")


def _registry(algorithms: tuple[str, ...]) -> "JWSRegistry":
    """Takes these algorithms alone, and headers that it does not know unless they are critical."""

    class Allowed(jws.JWSRegistry):
        max_header_length = MAX_HEADER

        def get_alg(self, name: str) -> Any:
            """As its base, which also warns that the name EdDSA stands for two curves; the key says which."""
            if name not in algorithms:
                raise joserfc.errors.UnsupportedAlgorithmError(name)
            return self.algorithms[name]

    return Allowed(algorithms=algorithms, strict_check_header=False)


def _number(claims: Mapping[str, Any], name: str) -> bool:
    return isinstance(claims.get(name), int | float) and not isinstance(claims[name], bool)


def _name(claims: Mapping[str, Any], subject: str) -> str:
    for name in ("preferred_username", "email", "name"):
        if isinstance(text := claims.get(name), str) and text.strip() and text.isprintable():
            return text.strip()
    return subject if subject.isprintable() else "person"


def _groups(claims: Mapping[str, Any], claim: str) -> frozenset[str]:
    found = claims.get(claim, [])
    return frozenset(one for one in (found if isinstance(found, list) else [found]) if isinstance(one, str))
