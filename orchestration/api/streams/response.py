"""The answer that does not end: events, until the client leaves, its rights change, or the service stops."""

import asyncio
import time
import zlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import suppress
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from orchestration.access.topics import Topic
from orchestration.api.problems import problem
from orchestration.api.streams.board import event
from orchestration.api.streams.watcher import Subscription, Watcher
from orchestration.platform.clock import iso
from schemas.errors import MusterError, RetriableError, UserError
from schemas.ids import JobId

MEDIA_TYPE: Final = "text/event-stream"
RETRY_MS: Final = 2000
"""Clients connect again after one to two times this, so that they do not all come at once when a service starts."""
CHUNK_BYTES: Final = 64 * 1024
Check = Callable[[], Awaitable[Collection[Topic]]]


class EventStream(Response):
    """States of topics as server-sent events. `check`: the topics that the caller may see at the time of the call."""

    media_type = MEDIA_TYPE

    def __init__(
        self,
        watcher: Watcher,
        topics: Collection[Topic],
        check: Check,
        *,
        principal: JobId,
        request_id: str,
        first: bytes = b"",
    ) -> None:
        self.status_code = 200
        self.background = None
        self._watcher = watcher
        self._topics = topics
        self._check = check
        self._principal = principal
        self._request_id = request_id
        self._first = first
        self.init_headers({"Content-Type": MEDIA_TYPE, "X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the end. Raises as `Watcher.subscribed` before the first byte."""
        del scope
        with self._watcher.subscribed(self._principal, self._topics) as subscription:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            retry_ms = RETRY_MS + zlib.crc32(self._request_id.encode()) % RETRY_MS
            await _write(send, [f"retry: {retry_ms}\n\n".encode(), self._first])
            left = asyncio.create_task(_gone(receive, subscription.wake))
            try:
                await self._send_events(subscription, left, send)
            except MusterError as exc:
                await _write(send, [event("end", problem(exc, self._request_id))])
            finally:
                left.cancel()
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_events(self, subscription: Subscription, left: asyncio.Task[None], send: Send) -> None:
        """Returns when the client has left or the service stops; raises `MusterError` if the stream must end."""
        pace, now = self._watcher.pace, time.monotonic()
        alive_at, checked_at, check_at = now + pace.alive_s, now, now + pace.check_s
        while not left.done() and not self._watcher.stopping:
            subscription.wake.clear()
            begun = subscription.begun
            found = subscription.take(self._watcher.revision)
            if subscription.begun and not begun:
                found.append(event("ready", self._as_of()))
            now = time.monotonic()
            if not found and now >= alive_at:
                found = [event("alive", self._as_of())]
            if found:
                await _write(send, found)
                alive_at = time.monotonic() + pace.alive_s
            if now >= check_at:
                checked_at, check_at = await self._checked(checked_at)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, min(alive_at, check_at) - time.monotonic())):
                    await subscription.wake.wait()

    async def _checked(self, checked_at: float) -> tuple[float, float]:
        """When the rights were checked last, and when they are due again.

        Raises `UserError` if they have changed, `RetriableError` if they could not be checked for twice the usual time.
        """
        now, check_s = time.monotonic(), self._watcher.pace.check_s
        try:
            topics = await self._check()
        except RetriableError:
            if now - checked_at > 2 * check_s:
                raise
            return checked_at, now + check_s / 6
        if topics != self._topics:
            raise UserError("RIGHTS_CHANGED", "your rights have changed; connect again")
        return now, now + check_s

    def _as_of(self) -> dict[str, str | None]:
        as_of_ms = self._watcher.as_of_ms
        return {"as_of": None if as_of_ms is None else iso(as_of_ms)}


async def _gone(receive: Receive, wake: asyncio.Event) -> None:
    """Returns when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
    wake.set()


async def _write(send: Send, found: Iterable[bytes]) -> None:
    """Waits while the client does not read: at most one chunk more than the socket takes is in memory."""
    for chunk in _chunks(found):
        await send({"type": "http.response.body", "body": chunk, "more_body": True})


def _chunks(found: Iterable[bytes]) -> Iterator[bytes]:
    chunk = b""
    for text in found:
        chunk += text
        if len(chunk) >= CHUNK_BYTES:
            yield chunk
            chunk = b""
    if chunk:
        yield chunk
