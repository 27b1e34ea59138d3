"""An object store for presigned requests: it keeps uploads, and fails on demand."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(slots=True)
class Store:
    """`faults`: by path, what its next requests meet: a status, "cut" for half of the answer, "silent" for none, or
    "lost" for none after it was stored. `hosts`: as sent.
    """

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
            size, fault = int(self.headers["Content-Length"]), self._fault()
            if len(body := self.rfile.read(size)) < size:
                return
            if fault in {None, "lost"}:
                store.contents[self.path.partition("?")[0]] = body
            if fault in {"silent", "lost"}:
                self.rfile.read(1)  # until the client has given up
                self.close_connection = True
                return
            if fault is not None:
                self._answer(int(fault), b"")
                return
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
