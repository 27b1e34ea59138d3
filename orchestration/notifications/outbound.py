"""One HTTP exchange with a server outside, at an address that was checked (`targets`).

Follows no redirects, uses no proxy, and reads no more of the answer than was asked for.
"""

import http.client
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from orchestration.notifications.deadline import OPERATION_S, TOTAL_S, deadline
from orchestration.notifications.targets import Endpoint, PrivateTargets, resolve


def exchange(
    method: str,
    url: str,
    body: bytes | None,
    headers: Mapping[str, str],
    *,
    private: PrivateTargets,
    max_bytes: int = 0,
    operation_s: float = OPERATION_S,
    total_s: float = TOTAL_S,
) -> tuple[int, bytes]:
    """The status of the answer, and at most `max_bytes` of its body.

    Only with a public address over https, or one of `private`. Raises `OSError`, `http.client.HTTPException` and
    ValueError: no connection, an invalid certificate, a target that may not be called, an answer that is none.
    """
    parts = urlsplit(url)
    https = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if https else 80)
    connection = http.client.HTTPConnection(host, parts.port, timeout=operation_s)
    opened: list[socket.socket] = []
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        with deadline(lambda: opened[-1] if opened else None, total_s) as until:
            found = resolve(host, port, https=https, private=private)
            connection.sock = connected(host, found, opened, https=https, timeout_s=operation_s, until=until)
            connection.request(method, target, body=body, headers=dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.read(max_bytes) if max_bytes else b""
    finally:
        connection.close()


def connected(
    host: str,
    found: Iterable[Endpoint],
    opened: list[socket.socket],
    *,
    https: bool,
    timeout_s: float,
    until: float,
) -> socket.socket:
    """A connection to one of the addresses that were resolved and checked: resolving again might give others.

    Each socket is put into `opened` before it connects, so that a deadline can shut it down. No address is tried after
    `until` (monotonic seconds).
    """
    fault: OSError | None = None
    for family, address in found:
        if (left_s := until - time.monotonic()) <= 0:
            break
        opened.append(socket.socket(family, socket.SOCK_STREAM))
        try:
            opened[-1].settimeout(min(timeout_s, left_s))
            opened[-1].connect(address)
            if https:
                context = ssl.create_default_context()
                opened.append(context.wrap_socket(opened[-1], server_hostname=host, do_handshake_on_connect=False))
                opened[-1].do_handshake()  # type: ignore[attr-defined]  # of an SSLSocket
            opened[-1].settimeout(timeout_s)
        except OSError as exc:
            opened[-1].close()
            fault = exc
        else:
            return opened[-1]
    raise fault or TimeoutError(f"{host}: no address answered in time")
