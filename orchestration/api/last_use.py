"""Records when tokens and sessions were used: now and then, and never while a request waits."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from orchestration.access.authentication import Caller
from orchestration.api.thread_pool import ThreadPool
from orchestration.composition.service import Services
from orchestration.platform.clock import now_ms
from schemas.errors import MusterError

TOKEN_MS: Final = 3600 * 1000
SESSION_MS: Final = 5 * 60 * 1000
"""A session that is idle for 8 h ends; five minutes more or less do not matter."""


class LastUse:
    """Writes what the catalog does not know yet."""

    def __init__(self, services: Services, calls: ThreadPool) -> None:
        self._services = services
        self._calls = calls
        self._writing: dict[str, asyncio.Task[None]] = {}

    def note(self, caller: Caller) -> None:
        """The caller has sent a request."""
        at_ms, services = now_ms(), self._services
        if (token := caller.token) is not None and at_ms - (token.used_at_ms or 0) > TOKEN_MS:
            self._write(token.token_id, lambda: services.tokens.touch(token.token_id, at_ms))
        if (session := caller.session) is not None and at_ms - session.seen_at_ms > SESSION_MS:
            self._write(session.session_id, lambda: services.sessions.touch(session.session_id, at_ms))

    def _write(self, id_: str, write: Callable[[], None]) -> None:
        if id_ not in self._writing:
            task = asyncio.get_running_loop().create_task(self._run(write))
            self._writing[id_] = task
            task.add_done_callback(lambda _: self._writing.pop(id_, None))

    async def _run(self, write: Callable[[], None]) -> None:
        with suppress(MusterError):  # the next request tries again
            await self._calls.run(write)
