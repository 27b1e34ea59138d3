"""Requests to an ASGI application in this process: what a server would pass on, without sockets."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from starlette.types import ASGIApp, Message

from muster.transport import Stream

HANG_S = 30


@dataclass(frozen=True, slots=True)
class Answer:
    """Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    pairs: Sequence[tuple[str, str]] = ()
    """All headers, including repeated ones."""

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class AsgiClient:
    """Sends requests one after the other, in an event loop of its own. `close` it at the end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._runner = asyncio.Runner()

    def close(self) -> None:
        """End the loop."""
        self._runner.close()

    def get(self, path: str, **given: Any) -> Answer:
        """A GET."""
        return self.send("GET", path, **given)

    def send(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: Any = None,
        raw: Sequence[bytes] | None = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        host: str | None = "127.0.0.1:18480",
        cut_off: bool = False,
        until: Callable[[bytes], bool] | None = None,
    ) -> Answer:
        """One request. `body` is sent as JSON; `raw` are the chunks of any other body, which may be `cut_off`.

        The client leaves once `until` is true of what it has received: streams do not end by themselves.
        """
        chunks = [b"" if body is None else json.dumps(body).encode()] if raw is None else list(raw)
        pairs = [("host", host)] if host is not None else []
        if token is not None:
            pairs.append(("authorization", f"Bearer {token}"))
        if (body is not None or raw is not None) and "Content-Type" not in (headers or {}):
            pairs.append(("content-type", "application/json"))
        pairs += [(name.lower(), value) for name, value in (headers or {}).items()]
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": quote(path).encode(),
            "query_string": urlencode(query or {}, doseq=True).encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in pairs],
            "scheme": "http",
            "server": ("127.0.0.1", 18480),
            "client": ("127.0.0.1", 1),
            "root_path": "",
        }
        return self._runner.run(self._send(scope, chunks, cut_off=cut_off, until=until))

    async def _send(
        self, scope: dict[str, Any], chunks: list[bytes], *, cut_off: bool, until: Callable[[bytes], bool] | None
    ) -> Answer:
        sent: list[Message] = []
        leaves = asyncio.Event()

        async def receive() -> Message:
            if chunks:
                chunk = chunks.pop(0)
                return {"type": "http.request", "body": chunk, "more_body": bool(chunks) or cut_off}
            if cut_off:
                return {"type": "http.disconnect"}
            await leaves.wait()  # the client stays and sends nothing more
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)
            if until is not None and until(b"".join(message.get("body", b"") for message in sent)):
                leaves.set()

        async with asyncio.timeout(None if until is None else HANG_S):  # a stream that never sends what it should
            await self._app(scope, receive, send)
        start = sent[0]
        pairs = [(name.decode(), value.decode()) for name, value in start["headers"]]
        body = b"".join(message.get("body", b"") for message in sent[1:])
        return Answer(start["status"], dict(pairs), body, pairs)


class AsgiTransport:
    """`muster.transport.Transport` to an application in this process.

    `sent`: method and path of every request.
    """

    def __init__(self, client: AsgiClient) -> None:
        self._client = client
        self.sent: list[tuple[str, str]] = []

    def send(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """See `Transport.send`."""
        answer = self._answer(method, target, headers, body)
        return answer.status, answer.headers, answer.body

    @contextmanager
    def stream(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> Iterator[Stream]:
        """See `Transport.stream`; it ends with the first states."""
        answer = self._answer(method, target, headers, body, until=lambda received: b"event: ready" in received)
        yield answer.status, answer.headers, iter(answer.body.splitlines(keepends=True))

    def _answer(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, **options: Any
    ) -> Answer:
        parts = urlsplit(target)
        self.sent.append((method, parts.path))
        return self._client.send(
            method,
            unquote(parts.path),
            raw=None if body is None else [body],
            query=parse_qs(parts.query),
            headers={name: value for name, value in headers.items() if name != "Content-Type"},
            **options,
        )

    def close(self) -> None:
        """See `Transport.close`; the client of the application stays open."""
