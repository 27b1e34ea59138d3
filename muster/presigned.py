"""Connections to the object store for presigned requests, which need no token."""

import http.client
import os
import ssl
from typing import Final
from urllib.parse import urlsplit

from muster.errors import ApiError

TIMEOUT_S: Final = 60.0
BLOCK: Final = 1024 * 1024
CONNECT_TO: Final = "MUSTER_S3_CONNECT_TO"
"""HOST:PORT to connect to instead of the one in the URL, which stays in the header Host, since it is signed."""


def connection_to(url: str) -> tuple[http.client.HTTPConnection, str, dict[str, str]]:
    """A connection for a request to a URL, the target of the request, and its header Host."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    if other := os.environ.get(CONNECT_TO):
        host, _, number = other.rpartition(":")
        if not host or not number.isdigit():
            raise ApiError("BAD_URL", f"{CONNECT_TO} is {other!r}, not HOST:PORT", kind="user")
        port = int(number)
    headers = {"Host": parts.netloc}
    if parts.scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context), _target(url), headers
    return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S), _target(url), headers


def _target(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"
