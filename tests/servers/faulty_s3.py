"""An HTTP proxy in front of an S3 server that answers some requests itself, or not at all."""

import http.client
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "expect"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as received. `number` counts from 1."""

    number: int
    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the proxy answers in place of the server; `after`: only after the server has served the request."""

    status: int
    code: str
    headers: Mapping[str, str] = field(default_factory=dict)
    after: bool = False


class Stall(Exception):  # noqa: N818  # no error: what a fault may do
    """Leave the request unanswered until the proxy is closed."""


Fault = Callable[[Request], Answer | None]
"""Decides about a request: None passes it on. May raise `Stall`."""


@dataclass(slots=True)
class FaultyProxy:
    """A running proxy: its address, the requests it got, and the fault it injects."""

    endpoint: str
    fault: Fault = lambda _: None
    requests: list[Request] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def count(self, method: str) -> int:
        """Number of requests with this method."""
        return sum(request.method == method for request in self.requests)


@contextmanager
def faulty_proxy(target: str, fault: Fault = lambda _: None) -> Iterator[FaultyProxy]:
    """A proxy in front of the server at `target` (`http://host:port`). It keeps the Host header, which is signed."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    proxy = FaultyProxy(endpoint=f"http://127.0.0.1:{server.server_port}", fault=fault)
    server.proxy = proxy  # type: ignore[attr-defined]
    server.target = urlsplit(target).netloc  # type: ignore[attr-defined]
    server.lock = threading.Lock()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def _serve(self) -> None:
        server = self.server
        proxy: FaultyProxy = server.proxy  # type: ignore[attr-defined]
        body = self._body()
        with server.lock:  # type: ignore[attr-defined]
            request = Request(
                number=len(proxy.requests) + 1, method=self.command, path=self.path, headers=dict(self.headers)
            )
            proxy.requests.append(request)
        try:
            answer = proxy.fault(request)
        except Stall:
            proxy.closing.wait()
            self.close_connection = True
            return
        if answer is None or answer.after:
            passed = self._passed_on(server.target, body)  # type: ignore[attr-defined]
        if answer is None:
            self._say(*passed)
        else:
            text = f"<?xml version='1.0'?><Error><Code>{answer.code}</Code><Message>no</Message></Error>".encode()
            self._say(answer.status, dict(answer.headers), text)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":  # Arrow writes in chunks
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while length := int(self.rfile.readline().partition(b";")[0], 16):
            body += self.rfile.read(length)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _passed_on(self, target: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(target, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        connection.request(self.command, self.path, body=body, headers=headers)
        response = connection.getresponse()
        content = response.read()
        kept = {name: value for name, value in response.getheaders() if name.lower() not in HOP_BY_HOP}
        connection.close()
        return response.status, kept, content

    def _say(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() != "content-length":
                self.send_header(name, value)
        if self.command != "HEAD" and status != 204:
            headers = {**headers, "Content-Length": str(len(content))}
            self.send_header("Content-Length", str(len(content)))
        elif "Content-Length" in headers:
            self.send_header("Content-Length", headers["Content-Length"])
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815
