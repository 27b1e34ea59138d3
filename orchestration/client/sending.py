"""Sends files by presigned requests, which need no token."""

import http.client
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import urlsplit

from orchestration.client.errors import ApiError

TIMEOUT_S: Final = 60.0
BLOCK: Final = 1024 * 1024


class _Slice:
    """A piece of a file, as `http.client` reads it."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = size

    def read(self, size: int = BLOCK) -> bytes:
        block = self._file.read(min(size, self._left))
        self._left -= len(block)
        return block


def send_piece(request: Mapping[str, Any], path: Path, start: int, size: int) -> None:
    """Send `size` bytes of a file from `start`. Raises `ApiError` UPLOAD_REFUSED, UPLOAD_UNREACHABLE, and OSError."""
    url = urlsplit(request["url"])
    host, target = url.hostname or "", f"{url.path}?{url.query}"
    connection = (
        http.client.HTTPSConnection(host, url.port, timeout=TIMEOUT_S, context=ssl.create_default_context())
        if url.scheme == "https"
        else http.client.HTTPConnection(host, url.port, timeout=TIMEOUT_S)
    )
    try:
        with path.open("rb") as file:
            file.seek(start)
            try:
                connection.request(request["method"], target, _Slice(file, size), dict(request["headers"]))
                answer = connection.getresponse()
                answer.read()
            except http.client.HTTPException as exc:
                raise _unreachable(exc) from exc
            except (ConnectionError, TimeoutError) as exc:
                raise _unreachable(exc) from exc
    finally:
        connection.close()
    if answer.status >= 300:
        raise ApiError(
            "UPLOAD_REFUSED",
            f"the object store refuses the file with status {answer.status}: its size has changed, the request "
            "is older than 15 minutes, or the file was sent before",
            kind="user" if answer.status < 500 else "retriable",
            status=answer.status,
        )


def _unreachable(exc: Exception) -> ApiError:
    why = str(exc) or type(exc).__name__
    return ApiError("UPLOAD_UNREACHABLE", f"the object store does not answer ({why})", kind="retriable")
