"""Sessions of browsers: how long they last, and from a cookie to a caller.

A session ends 24 h after its login, 8 h after its last use, at a logout, when someone ends it, and with the token that
it stands for. Every login creates a new one, so that nobody can plant one for someone else (session fixation).
"""

from typing import Final

from orchestration.access.authentication import Caller, caller_by_token
from orchestration.access.opaque import fresh_opaque, opaque_digest
from orchestration.access.policy import Rights
from orchestration.catalog.access_records import Session, SessionCredentials
from orchestration.catalog.auditing import record
from orchestration.catalog.sessions import SessionStore
from orchestration.composition.service import Services
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.platform.settings import Secret
from orchestration.records.access import Principal
from schemas.errors import UserError
from schemas.ids import JobId
from schemas.records import as_record

HOUR_MS: Final = 3600 * 1000
LIFE_MS: Final = 24 * HOUR_MS


def begin_session(
    services: Services, owner: Principal, *, token_id: JobId | None, request_id: JobId, replaced: str | None = None
) -> Secret:
    """A new session; returns its cookie. `token_id`: the token that it stands for; None: all rights of its owner.

    `replaced`: the cookie that the browser had before; its session ends.
    """
    at_ms, cookie = now_ms(), fresh_opaque()
    if replaced is not None and (earlier := _found(services.sessions, replaced)) is not None:
        services.sessions.revoke(earlier.session_id, now_ms=at_ms)
    made = Session(
        session_id=fresh_id(),
        principal_id=JobId(owner.principal),
        digest=str(opaque_digest(cookie.reveal())),
        token_id=token_id,
        created_at_ms=at_ms,
        seen_at_ms=at_ms,
        expires_at_ms=at_ms + LIFE_MS,
        revoked_at_ms=None,
    )
    services.sessions.add(made)
    record(
        services.audit,
        owner.name,
        "login",
        "sessions",
        after=as_record(made.shown()),
        principal=owner.principal,
        token=token_id,
        session=made.session_id,
        request_id=request_id,
    )
    return cookie


def authenticate_session(sessions: SessionStore, cookie: str, *, request_id: JobId, now_ms: int) -> Caller:
    """The caller of a session, with the rights of this moment. Raises `UserError` SESSION_ENDED."""
    digest = opaque_digest(cookie)
    return _caller_of(None if digest is None else sessions.credentials(digest), request_id=request_id, now_ms=now_ms)


def _caller_of(found: SessionCredentials | None, *, request_id: JobId, now_ms: int) -> Caller:
    if found is None or not is_valid(found.session, now_ms) or not _token_is_valid(found, now_ms):
        raise UserError("SESSION_ENDED", "the session has ended; log in again")
    granted = Rights.of(found.granted)
    return Caller(
        principal=found.principal,
        token=found.token,
        session=found.session,
        rights=granted if found.token is None else Rights.of(found.token.cap).within(granted),
        request_id=request_id,
    )


def check_again(services: Services, caller: Caller) -> None:
    """Refuse a caller who may no longer do all that it might when its request came.

    Raises `UserError` TOKEN_REVOKED, TOKEN_EXPIRED, TOKEN_REFUSED, SESSION_ENDED, RIGHTS_CHANGED.
    """
    at_ms, request_id = now_ms(), caller.request_id
    if caller.session is not None:
        now = _caller_of(services.sessions.credentials(caller.session.digest), request_id=request_id, now_ms=at_ms)
    elif (found := services.tokens.credentials(caller.token.token_id) if caller.token else None) is not None:
        now = caller_by_token(found, request_id=request_id, now_ms=at_ms)
    else:
        raise UserError("TOKEN_REFUSED", "the token is no longer known to this service")
    if caller.rights.exceed(now.rights):
        raise UserError("RIGHTS_CHANGED", "your rights have changed; ask again")


def is_valid(session: Session, now_ms: int) -> bool:
    """Whether a session has not ended."""
    return session.revoked_at_ms is None and now_ms < session.ends_at_ms


def _token_is_valid(found: SessionCredentials, now_ms: int) -> bool:
    """Whether the token that a session stands for still lets its owner in."""
    if found.session.token_id is None:
        return True
    token = found.token
    return token is not None and token.revoked_at_ms is None and now_ms < token.expires_at_ms


def _found(sessions: SessionStore, cookie: str) -> Session | None:
    digest = opaque_digest(cookie)
    found = None if digest is None else sessions.credentials(digest)
    return None if found is None else found.session
