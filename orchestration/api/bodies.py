"""Bodies of requests: read as a whole, within limits, before anything else sees them.

1. A request with both `Content-Length` and `Transfer-Encoding` is refused: a proxy in front might see another end of it
   than this server, and take the rest for a request of its own (request smuggling; RFC 9112, 6.1).
2. A body of a path that needs no caller is small, so strangers cannot fill the memory.
3. A JSON object with the same key twice is refused: programs differ in which of the two they read.
"""

import asyncio
import json
from collections.abc import Iterable
from typing import Any, Final

from starlette.types import Message, Receive, Scope

from schemas.errors import UserError

MAX_BODY_BYTES: Final = 1024 * 1024
MAX_PUBLIC_BODY_BYTES: Final = 4 * 1024
"""Codes and challenges have some hundred bytes. A thousand connections, all that the server takes, hold 4 MiB."""
BODY_TIMEOUT_S: Final = 30.0


def headers_of(scope: Scope, name: bytes) -> list[str]:
    """The values of a header, whose name is in lower case."""
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return [value.decode("latin-1") for key, value in headers if key == name]


def has_two_ends(scope: Scope) -> bool:
    """Whether two headers say where the body ends: a reason to close the connection too."""
    return bool(headers_of(scope, b"content-length") and headers_of(scope, b"transfer-encoding"))


def check_end(scope: Scope) -> None:
    """Raises `UserError` BAD_BODY for a body with two ends."""
    if has_two_ends(scope):
        raise UserError("BAD_BODY", "send either Content-Length or Transfer-Encoding, not both")


async def read_body(scope: Scope, receive: Receive, *, limit: int, timeout_s: float) -> bytes:
    """The whole body. Raises `UserError` BODY_TOO_LARGE, BODY_CUT_OFF, BODY_TIMEOUT, BAD_BODY."""
    body: bytes = b""
    length = headers_of(scope, b"content-length")
    if length and (not length[0].isdecimal() or int(length[0][:20]) > limit):
        raise _too_large(limit)
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise UserError("BODY_CUT_OFF", "the client has gone before its whole body arrived")
                body += message.get("body", b"")
                if len(body) > limit:
                    raise _too_large(limit)
                if not message.get("more_body"):
                    break
    except TimeoutError as exc:
        raise UserError("BODY_TIMEOUT", f"the body did not arrive within {timeout_s:g} s") from exc
    if body and "json" in "".join(headers_of(scope, b"content-type")).lower():
        _check_keys(body)
    return body


def replay(body: bytes, receive: Receive) -> Receive:
    """The body as one message; after it, the client's messages: its disconnect."""
    given = False

    async def next_message() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return next_message


def _check_keys(body: bytes) -> None:
    """What is no JSON at all is refused where it is parsed."""
    try:
        json.loads(body, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return


def _unique(pairs: list[tuple[str, Any]]) -> None:
    seen = set()
    for key, _ in pairs:
        if key in seen:
            raise UserError("BAD_BODY", f"the body has the key {key[:80]!r} twice in one object; send it once")
        seen.add(key)


def _too_large(limit: int) -> UserError:
    return UserError("BODY_TOO_LARGE", f"the body of this request has at most {limit} bytes", limit=limit)
