"""How a browser gets in with what a token may: a code that is used once, within 60 s, and becomes a session.

The token itself never reaches the browser, nor its history.
"""

from typing import Final

from orchestration.access.authentication import Caller
from orchestration.access.opaque import fresh_opaque, opaque_digest
from orchestration.access.sessions import begin_session
from orchestration.access.stores import Stores
from orchestration.platform.settings import Secret
from schemas.errors import UserError
from schemas.ids import JobId

LIFE_MS: Final = 60 * 1000


def make_console_code(stores: Stores, caller: Caller, *, now_ms: int) -> Secret:
    """A code for a session with the rights of the caller, and no more."""
    code, token = fresh_opaque(), None if caller.token is None else caller.token.token_id
    stores.codes.put(
        "console",
        str(opaque_digest(code.reveal())),
        {"principal": caller.principal.principal_id, "token": token},
        expires_at_ms=now_ms + LIFE_MS,
    )
    return code


def redeem_console_code(stores: Stores, code: str, *, replaced: str | None, request_id: JobId, now_ms: int) -> Secret:
    """The cookie of a new session. Raises `UserError` CODE_REFUSED."""
    digest = opaque_digest(code)
    found = None if digest is None else stores.codes.take("console", digest, now_ms=now_ms)
    owner = None if found is None else stores.principals.find(JobId(found["principal"]))
    if found is None or owner is None:
        raise UserError(
            "CODE_REFUSED", "the code was used before, or is older than a minute; get a new one with `muster console`"
        )
    token_id = None if found["token"] is None else JobId(found["token"])
    return begin_session(stores, owner, token_id=token_id, request_id=request_id, replaced=replaced)
