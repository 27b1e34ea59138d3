"""A webhook receiver: a real HTTP server in a thread that keeps every request and gives scripted answers."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.waiting import until


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as received."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True, kw_only=True)
class Receiver:
    """A running server. `answers`: status of the next requests, in order; 200 when the list is empty."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def wait_for(self, count: int) -> list[Request]:
        """Wait until at least `count` requests have come."""
        until(lambda: len(self.requests) >= count, lambda: f"{len(self.requests)} of {count} requests")
        return list(self.requests)


@contextmanager
def receiver(*, certificate: tuple[Path, Path] | None = None, redirect_to: str = "") -> Iterator[Receiver]:
    """Start a receiver; 3xx answers point to `redirect_to`."""
    state = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the base class requires this name
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.requests.append(Request(path=self.path, headers=dict(self.headers.items()), body=body))
            status = state.answers.pop(0) if state.answers else 200
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", redirect_to)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its base class' name
            del format, args

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        scheme = "http"
        if certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(*certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            scheme = "https"
        state.url = f"{scheme}://127.0.0.1:{server.server_address[1]}/hook"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
