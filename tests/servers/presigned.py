"""An object store for presigned requests: it keeps what is sent, and fails where it is told to."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(slots=True)
class Store:
    """`faults`: by path, what its next requests meet: a status, or "cut" for half of the answer. `hosts`: as sent."""

    url: str = ""
    contents: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[int | str]] = field(default_factory=dict)
    hosts: list[str] = field(default_factory=list)


@contextmanager
def object_store() -> Iterator[Store]:
    """Serve one on a free port."""
    store = Store()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if (fault := self._fault()) is not None:
                self._answer(int(fault), b"")
                return
            store.contents[self.path.partition("?")[0]] = body
            self._answer(200, b"")

        def do_GET(self) -> None:
            content, fault = store.contents.get(self.path.partition("?")[0]), self._fault()
            if content is None or fault not in {None, "cut"}:
                self._answer(int(fault or 404), b"")
            else:
                self._answer(200, content, cut=fault == "cut")

        def _fault(self) -> int | str | None:
            store.hosts.append(self.headers["Host"])
            left = store.faults.get(self.path.partition("?")[0])
            return left.pop(0) if left else None

        def _answer(self, status: int, content: bytes, *, cut: bool = False) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if cut else content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    store.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
