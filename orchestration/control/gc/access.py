"""Forgets tokens, sessions and codes that ended long ago. The audit trail keeps their ids."""

from typing import Final

from orchestration.catalog.api_tokens import TokenStore
from orchestration.catalog.one_time_codes import OneTimeCodes
from orchestration.catalog.sessions import SessionStore
from schemas.topics import HOUR_MS

TOKENS_MS: Final = 30 * 24 * HOUR_MS
"""An owner who finds a token refused can still see in the list that it has expired."""
SESSIONS_MS: Final = 24 * HOUR_MS


class EndedAccess:
    """Removes rows that let nobody in any more."""

    def __init__(self, tokens: TokenStore, sessions: SessionStore, codes: OneTimeCodes) -> None:
        self._tokens = tokens
        self._sessions = sessions
        self._codes = codes

    def tick(self, now: int) -> None:
        """Raises `RetriableError` CATALOG_UNAVAILABLE."""
        self._codes.forget(now)
        self._sessions.forget(now - SESSIONS_MS)
        self._tokens.forget(now - TOKENS_MS)
