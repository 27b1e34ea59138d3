"""One POST to one URL, at an address that was checked (`targets`).

Follows no redirects, uses no proxy, and reads only the status of the response.
"""

import http.client
import socket
import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from orchestration.notifications.deadline import OPERATION_S, TOTAL_S, deadline
from orchestration.notifications.targets import PrivateTargets, resolve
from schemas.errors import RetriableError

_SUCCESS: Final = range(200, 300)


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    private: PrivateTargets,
    operation_s: float = OPERATION_S,
    total_s: float = TOTAL_S,
) -> None:
    """Deliver to a public address over https, or to one of `private`.

    Raises `RetriableError` WEBHOOK_FAILED: no connection, an invalid certificate, a target that may not be called, any
    response but 2xx.
    """
    parts = urlsplit(url)
    https = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if https else 80)
    connection = http.client.HTTPConnection(host, parts.port, timeout=operation_s)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        with deadline(lambda: connection.sock, total_s):
            connection.sock = _connected(host, port, https=https, private=private, timeout_s=operation_s)
            connection.request("POST", target, body=body, headers=dict(headers))
            status = connection.getresponse().status
    except (OSError, http.client.HTTPException, ValueError) as exc:
        raise RetriableError("WEBHOOK_FAILED", f"{host}: {type(exc).__name__}: {exc}"[:300]) from exc
    finally:
        connection.close()
    if status not in _SUCCESS:
        redirect = "; redirects are not followed" if 300 <= status < 400 else ""
        raise RetriableError("WEBHOOK_FAILED", f"{host} answered {status}{redirect}", status=status)


def _connected(host: str, port: int, *, https: bool, private: PrivateTargets, timeout_s: float) -> socket.socket:
    """Connect to the address that was checked; a second lookup might return another one."""
    fault: OSError | None = None
    for family, address in resolve(host, port, https=https, private=private):
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout_s)
            connection.connect(address)
            return ssl.create_default_context().wrap_socket(connection, server_hostname=host) if https else connection
        except OSError as exc:
            connection.close()
            fault = exc
    raise fault or OSError(f"{host} has no address")
