"""A TCP proxy that loses, delays, cuts and swallows: one link per server, one rule at a time, set by a script.

`Proxy` runs all links in its own thread. A rule counts the matching requests of its link since it was set and harms
every k-th of them, up to a number of times. The harms:

latency   every piece waits, in both directions
stall     nothing passes, in either direction, until the rule is lifted
reset     the request is not passed on, both sides get RST
truncate  half of the first bytes of the reply, then RST
lose      the request is passed on and answered; the answer is swallowed, then RST
fence     the reply to a Metadata request, which the rule has to match, names no broker
"""

import asyncio
import contextlib
import re
import socket
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Self

from tests.faults.wire import Exchanges, Piece, Protocol, without_brokers

Harm = Literal["latency", "stall", "reset", "truncate", "lose", "fence"]
HARMS: Final[tuple[Harm, ...]] = ("latency", "stall", "reset", "truncate", "lose")
"""Of every link. Only Kafka can be fenced."""
PIECE_BYTES: Final = 64 * 1024
RST_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with a timeout of zero: closing sends RST."""
CONNECT_TIMEOUT_S: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Harm the `every`-th, twice `every`-th, ... matching request, `times` times (0: without limit)."""

    harm: Harm
    every: int = 1
    times: int = 1
    matches: bytes = b""
    latency_s: float = 0.0


@dataclass(slots=True)
class Link:
    """One server behind the proxy: clients connect to `port`, the server listens at `target`."""

    name: str
    protocol: Protocol
    target: int
    port: int = 0
    requests: int = 0
    harmed: list[str] = field(default_factory=list)
    _rule: Rule | None = None
    _seen: int = 0
    _hits: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def set(self, rule: Rule) -> None:
        """Apply a rule from now on."""
        with self._lock:
            self._rule, self._seen, self._hits = rule, 0, 0

    def lift(self) -> int:
        """Stop the harm. Return how often it was done; a stall counts once."""
        with self._lock:
            rule, self._rule = self._rule, None
            return self._hits if rule is None or rule.harm not in {"latency", "stall"} else int(self._seen > 0)

    def hits(self) -> int:
        """How often the last rule has done harm."""
        with self._lock:
            return self._hits

    def latency_s(self) -> float:
        """Delay of every piece under the current rule, in seconds."""
        rule = self._rule
        return rule.latency_s if rule is not None and rule.harm == "latency" else 0.0

    def stalled(self) -> bool:
        """True while nothing passes."""
        rule = self._rule
        return rule is not None and rule.harm == "stall"

    def judge(self, head: bytes) -> Harm | None:
        """The harm for a request with this head. None if it passes unharmed."""
        with self._lock:
            self.requests += 1
            rule = self._rule
            if rule is None or not re.search(rule.matches, head):
                return None
            self._seen += 1
            done = 0 < rule.times <= self._hits
            if rule.harm in {"latency", "stall"} or done or self._seen % rule.every:
                return None
            self._hits += 1
            self.harmed.append(f"{rule.harm} {head[:60]!r}")
            return rule.harm


class Proxy:
    """Listens on loopback while open (a context manager). `links[name].port` is known once it is entered."""

    def __init__(self, *links: Link) -> None:
        self.links: Mapping[str, Link] = {link.name: link for link in links}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        # Keep a reference to each connection: one that both sides leave half open would be garbage-collected midway.
        connections: set[asyncio.Task[None]] = set()
        servers = [await _listen(link, connections) for link in self.links.values()]
        self._ready.set()
        await self._closing.wait()
        # The order matters: a closed server forgets, without closing them, the connections it has just accepted.
        for server in servers:
            for listener in server.sockets:
                self._loop.remove_reader(listener.fileno())
        await _turns()
        for server in servers:
            server.close()
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await _turns()  # connections that were reset close their sockets


async def _turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def _listen(link: Link, connections: set[asyncio.Task[None]]) -> asyncio.Server:
    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def ended(connection: asyncio.Task[None]) -> None:
            connections.discard(connection)
            if connection.cancelled():  # perhaps before it had begun
                _reset(writer)

        connection = asyncio.create_task(_Connection(link, reader, writer).run())
        connections.add(connection)
        connection.add_done_callback(ended)

    server = await asyncio.start_server(serve, "127.0.0.1", link.port, limit=2 * PIECE_BYTES)
    link.port = server.sockets[0].getsockname()[1]
    return server


class _Connection:
    def __init__(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._link = link
        self._client = reader, writer
        self._exchanges = Exchanges(link.protocol)
        self._fates: dict[int, tuple[Harm, bytes]] = {}

    async def run(self) -> None:
        """Run until both sides have ended. Both sockets are closed or reset in any case, also when the proxy ends."""
        writers, harmed = [self._client[1]], True
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                from_server, to_server = await asyncio.open_connection("127.0.0.1", self._link.target)
            writers.append(to_server)
            harmed = await self._exchange(from_server, to_server)
        except (OSError, TimeoutError):
            pass
        finally:
            for writer in writers:
                if harmed:
                    _reset(writer)
                else:
                    writer.close()

    async def _exchange(self, from_server: asyncio.StreamReader, to_server: asyncio.StreamWriter) -> bool:
        """Pass on what either side sends. True if harm was done."""
        from_client, to_client = self._client
        ways = [
            asyncio.create_task(self._requests(from_client, to_server)),
            asyncio.create_task(self._replies(from_server, to_client)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_EXCEPTION)
            return any(way.done() and not way.cancelled() and way.exception() for way in ways)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(PIECE_BYTES):
            for piece in self._exchanges.sent(data):
                if piece.head is not None:
                    harm = self._link.judge(piece.head)
                    if harm == "reset":
                        raise ConnectionResetError
                    if harm is not None:
                        self._fates[self._exchanges.number] = harm, piece.head
                await self._pass_on(piece.data, writer)
        if writer.can_write_eof():
            writer.write_eof()

    async def _replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(PIECE_BYTES):
            for piece in self._exchanges.replied(data):
                await self._pass_on(self._left_of(piece), writer)
                if self._fate(piece)[0] in {"lose", "truncate"}:
                    raise ConnectionResetError
        if writer.can_write_eof():
            writer.write_eof()

    def _fate(self, piece: Piece) -> tuple[Harm | None, bytes]:
        """The harm to a reply, and the head of its request."""
        return (None, b"") if piece.answers is None else self._fates.get(piece.answers, (None, b""))

    def _left_of(self, piece: Piece) -> bytes:
        match self._fate(piece):
            case "lose", _:
                return b""
            case "truncate", _:
                return piece.data[: len(piece.data) // 2]
            case "fence", request:
                return without_brokers(request, piece.data)
            case _:
                return piece.data

    async def _pass_on(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        while self._link.stalled():  # noqa: ASYNC110 - rules are set by other threads
            await asyncio.sleep(0.02)
        if latency_s := self._link.latency_s():
            await asyncio.sleep(latency_s)
        writer.write(data)
        await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Send RST and drop what is not sent yet."""
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_ON_CLOSE)
    writer.transport.abort()
