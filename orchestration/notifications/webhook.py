"""One POST to one URL. No redirect is followed, no proxy is asked, only the status of the answer is looked at."""

import http.client
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from orchestration.notifications.deadline import OPERATION_S, TOTAL_S, deadline
from schemas.errors import RetriableError

_SUCCESS: Final = range(200, 300)


def post(
    url: str, body: bytes, headers: Mapping[str, str], *, operation_s: float = OPERATION_S, total_s: float = TOTAL_S
) -> None:
    """Deliver. Raises `RetriableError` WEBHOOK_FAILED: no connection, a wrong certificate, any answer but 2xx."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(host, port, timeout=operation_s, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=operation_s)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        with deadline(lambda: connection.sock, total_s):
            connection.connect()
            _refuse_the_machines_own_network(connection.sock)
            connection.request("POST", target, body=body, headers=dict(headers))
            status = connection.getresponse().status
    except (OSError, http.client.HTTPException, ValueError) as exc:
        raise RetriableError("WEBHOOK_FAILED", f"{host}: {type(exc).__name__}: {exc}"[:300]) from exc
    finally:
        connection.close()
    if status not in _SUCCESS:
        redirect = "; redirects are not followed" if 300 <= status < 400 else ""
        raise RetriableError("WEBHOOK_FAILED", f"{host} answered {status}{redirect}", status=status)


def _refuse_the_machines_own_network(connection: socket.socket) -> None:
    """Link-local addresses are those of metadata services, which hand out credentials."""
    address = ipaddress.ip_address(str(connection.getpeername()[0]).partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None) or address
    if mapped.is_link_local:
        raise OSError(f"{mapped} is a link-local address")
