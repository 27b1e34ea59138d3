"""How a browser gets in with what a token may: a code that is used once, within 60 s, and becomes a session.

The token itself never reaches the browser, nor its history.
"""

from collections.abc import Mapping
from typing import Any, Final

from orchestration.access.authentication import Caller
from orchestration.access.opaque import fresh_opaque, opaque_digest
from orchestration.access.sessions import begin_session
from orchestration.composition.service import Services
from orchestration.platform.settings import Secret
from orchestration.records.access import Principal
from schemas.errors import UserError
from schemas.ids import JobId

LIFE_MS: Final = 60 * 1000


def make_console_code(services: Services, caller: Caller, *, now_ms: int) -> Secret:
    """A code for a session with the rights of the caller's token, and no more.

    Raises `UserError` TOKEN_NEEDED for a session: it must end, and not go on as another that begins with its code.
    """
    if caller.session is not None or caller.token is None:
        raise UserError("TOKEN_NEEDED", "a session makes no codes for further sessions; use a token (`muster console`)")
    code = fresh_opaque()
    services.codes.put(
        "console",
        str(opaque_digest(code.reveal())),
        {"principal": caller.principal_id, "token": caller.token.token_id},
        expires_at_ms=now_ms + LIFE_MS,
    )
    return code


def owner_of_code(services: Services, code: str, *, now_ms: int) -> Principal:
    """Whose session a code would begin; it is not used up. Raises `UserError` CODE_REFUSED."""
    digest = opaque_digest(code)
    return _owner(services, None if digest is None else services.codes.find("console", digest, now_ms=now_ms))


def redeem_console_code(
    services: Services, code: str, *, replaced: str | None, request_id: JobId, now_ms: int
) -> Secret:
    """The cookie of a new session. Raises `UserError` CODE_REFUSED."""
    digest = opaque_digest(code)
    found = None if digest is None else services.codes.take("console", digest, now_ms=now_ms)
    owner = _owner(services, found)
    token_id = None if found is None or found["token"] is None else JobId(found["token"])
    return begin_session(services, owner, token_id=token_id, request_id=request_id, replaced=replaced)


def _owner(services: Services, found: Mapping[str, Any] | None) -> Principal:
    owner = None if found is None else services.principals.find(JobId(found["principal"]))
    if owner is None:
        raise UserError(
            "CODE_REFUSED", "the code was used before, or is older than a minute; get a new one with `muster console`"
        )
    return owner
