"""Sends files by presigned requests."""

import http.client
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

from muster.errors import ApiError
from muster.presigned import BLOCK, connection_to

BytesListener = Callable[[int], object]
"""Gets the size of each block that was sent; a negative one for what has to be sent again."""


class _Slice:
    """A piece of a file, as `http.client` reads it."""

    def __init__(self, file: BinaryIO, size: int, on_bytes: BytesListener) -> None:
        self._file = file
        self._left = size
        self._on_bytes = on_bytes
        self.sent = 0
        self.fault: OSError | None = None

    def read(self, size: int = BLOCK) -> bytes:
        try:
            block = self._file.read(min(max(size, BLOCK), self._left))
        except OSError as exc:
            self.fault = exc
            raise
        if not block and self._left:
            raise ApiError("UPLOAD_REFUSED", "the file became shorter while it was sent; send it again", kind="user")
        self._left -= len(block)
        self.sent += len(block)
        self._on_bytes(len(block))
        return block


def send_piece(
    request: Mapping[str, Any], path: Path, start: int, size: int, on_bytes: BytesListener = lambda _: None
) -> None:
    """Send `size` bytes of a file from `start`. Raises `ApiError` UPLOAD_REFUSED, UPLOAD_UNREACHABLE, and OSError."""
    connection, target, headers = connection_to(request["url"])
    with closing(connection), path.open("rb") as file:
        file.seek(start)
        piece = _Slice(file, size, on_bytes)
        try:
            connection.request(request["method"], target, piece, {**headers, **request["headers"]})
            answer = connection.getresponse()
            answer.read()
        except (http.client.HTTPException, OSError) as exc:
            if exc is piece.fault:
                raise
            on_bytes(-piece.sent)
            why = str(exc) or type(exc).__name__
            raise ApiError(
                "UPLOAD_UNREACHABLE", f"the object store at {headers['Host']} does not answer ({why})", kind="retriable"
            ) from exc
    if answer.status >= 300:
        on_bytes(-piece.sent)
        raise ApiError(
            "UPLOAD_REFUSED",
            f"the object store refuses the file with status {answer.status}: its size has changed, the request "
            "is older than 15 minutes, or the file was sent before",
            kind="user" if answer.status < 500 else "retriable",
            status=answer.status,
        )
