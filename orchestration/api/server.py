"""The HTTP server: uvicorn, with limits for clients that are slow or send too much."""

import asyncio
import socket
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from orchestration.platform.settings import Settings
from schemas.errors import UserError

MAX_HEAD_BYTES: Final = 16 * 1024
MAX_CONNECTIONS: Final = 1000
HEAD_TIMEOUT_S: Final = 10.0
STALL_TIMEOUT_S: Final = 30.0
GRACE_S: Final = 10
"""How long a stop waits for requests that are being answered; a call of the catalog takes no longer."""
LOOPBACK_NAMES: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})


class ImpatientProtocol(H11Protocol):
    """Closes a connection whose next request has not begun, or whose head is not whole, within `HEAD_TIMEOUT_S`.

    Also one that does not take what was sent for `STALL_TIMEOUT_S`.

    uvicorn itself limits only the pause between two requests: a client that sends a byte now and then would stay.
    """

    head_timeout_s = HEAD_TIMEOUT_S
    stall_timeout_s = STALL_TIMEOUT_S
    _head: asyncio.TimerHandle | None = None
    _stall: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in its base class
        """The first head is due."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """A whole head begins a request."""
        super().data_received(data)
        request: RequestResponseCycle | None = self.cycle  # None before the first
        if request is not None and not request.response_complete:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """The next head is due."""
        super().on_response_complete()
        self._await_head()

    def pause_writing(self) -> None:
        """64 KiB wait for the client."""
        super().pause_writing()
        if self._stall is None:
            self._stall = self.loop.call_later(self.stall_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        """It has taken most of them."""
        self._stop_stalling()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is due."""
        self._stop_waiting()
        self._stop_stalling()
        super().connection_lost(exc)

    def _stop_stalling(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _await_head(self) -> None:
        self._stop_waiting()
        self._head = self.loop.call_later(self.head_timeout_s, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None


class StoppingServer(uvicorn.Server):
    """Announces its stop: streams never end otherwise, and a stop waits for them."""

    def __init__(self, config: uvicorn.Config, stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._stopping = stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Called in the event loop, at a signal or `should_exit`."""
        self._stopping()
        await super().shutdown(sockets)


def server(
    settings: Settings,
    app: ASGIApp,
    protocol: type[H11Protocol] = ImpatientProtocol,
    *,
    stopping: Callable[[], None] = lambda: None,
) -> uvicorn.Server:
    """A server of the application at the address in the settings. Raises `UserError` BAD_SETTINGS.

    `run` it in the main thread: it ends at SIGTERM, after the requests that it is answering. `stopping` is called when
    it begins to stop, and must end the streams.
    """
    if settings.api_keep_alive_s > HEAD_TIMEOUT_S:  # a proxy in front sends whole heads
        protocol = type("PatientProtocol", (protocol,), {"head_timeout_s": settings.api_keep_alive_s})
    return StoppingServer(
        uvicorn.Config(
            app,
            host=settings.listen_host,
            port=port_of(settings),
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            timeout_keep_alive=settings.api_keep_alive_s,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=GRACE_S,
        ),
        stopping,
    )


def port_of(settings: Settings) -> int:
    """The port in the setting `api_url`. Raises `UserError` BAD_SETTINGS."""
    try:
        port = urlsplit(settings.api_url).port
    except ValueError:
        port = None
    if port is None:
        raise UserError(
            "BAD_SETTINGS", f"setting api_url: {settings.api_url!r} is not like http://127.0.0.1:18480", name="api_url"
        )
    return port


def hosts_of(settings: Settings) -> frozenset[str]:
    """Names by which clients may call the service: its own, those of loopback, and those in `api_hosts`."""
    own = [urlsplit(url).hostname or "" for url in (settings.api_url, settings.api_public_url)]
    return LOOPBACK_NAMES | {name.lower() for name in (*own, *settings.api_hosts.replace(",", " ").split()) if name}
