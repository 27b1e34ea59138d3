"""A login in the user's browser that ends with a token here: a code comes to a loopback port (RFC 8252, RFC 7636)."""

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Final
from urllib.parse import parse_qs, urlencode, urlsplit

from muster.access import Access
from muster.errors import ApiError
from muster.http_calls import HttpCalls
from muster.transport import HttpTransport, Transport

PATIENCE_S: Final = 300.0
DONE: Final = b"You are logged in. You can close this page.\n"


def browser_login(
    url: str,
    open_browser: Callable[[str], object],
    *,
    patience_s: float = PATIENCE_S,
    transport: Transport | None = None,
) -> Access:
    """The access of the person who logs in. `open_browser` gets the address.

    Raises `ApiError` BAD_URL, LOGIN_TIMEOUT, and those of the service.
    """
    base = Access(url=url.rstrip("/"), token="").url
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    digest = hashlib.sha256(verifier.encode()).digest()
    with _Waiting(state) as waiting:
        asked = {
            "port": waiting.server_port,
            "challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
            "state": state,
        }
        open_browser(f"{base}/login?{urlencode(asked)}")
        code = waiting.code(patience_s)
    sender = transport or HttpTransport(base)
    try:
        made, _ = HttpCalls(sender, None).call("POST", "/login-tokens", body={"code": code, "verifier": verifier})
    finally:
        sender.close()
    return Access(url=base, token=made["secret"])


class _Waiting(HTTPServer):
    """Takes one code, from a sender that knows the state, on a free loopback port."""

    def __init__(self, state: str) -> None:
        self.state: Final = state
        self.received: str | None = None
        super().__init__(("127.0.0.1", 0), _Handler)

    def code(self, patience_s: float) -> str:
        """The code. Raises `ApiError` LOGIN_TIMEOUT."""
        end = time.monotonic() + patience_s
        while self.received is None and (left := end - time.monotonic()) > 0:
            self.timeout = left
            self.handle_request()
        if self.received is None:
            raise ApiError("LOGIN_TIMEOUT", "the login in the browser was not completed; try again", kind="user")
        return self.received


class _Handler(BaseHTTPRequestHandler):
    server: _Waiting
    timeout = 5.0
    """A silent connection must not keep the browser waiting."""

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        code, state = (query.get(name, [""])[0] for name in ("code", "state"))
        known = bool(code) and hmac.compare_digest(state.encode(), self.server.state.encode())
        self.send_response(200 if known else 404)
        for name, value in (
            ("Content-Type", "text/plain"),
            ("Referrer-Policy", "no-referrer"),
            ("Connection", "close"),
        ):
            self.send_header(name, value)
        self.end_headers()
        if known:
            self.server.received = code
            self.wfile.write(DONE)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name of its base
        """Nothing: the address has the code."""
