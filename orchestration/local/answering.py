"""Whether a part that speaks HTTP on this machine answers. Loads little: health checks run every few seconds."""

from http.client import HTTPConnection, HTTPException
from typing import Final
from urllib.parse import urlsplit

from orchestration.local.ports import LOOPBACK, Ports

HEALTH_PATH: Final = "/muster/health"
"""Of the engine."""
API_HEALTH_PATH: Final = "/v1/health"


def responds(url: str, *, containing: bytes = b"", timeout_s: float = 2.0) -> bool:
    """Whether a GET of a local address is answered with 200 and a body that contains some bytes."""
    address = urlsplit(url)
    connection = HTTPConnection(address.hostname or LOOPBACK, address.port, timeout=timeout_s)
    try:
        connection.request("GET", address.path or "/")
        response = connection.getresponse()
        return response.status == 200 and containing in response.read()
    except (HTTPException, OSError):
        return False
    finally:
        connection.close()


def storage_registered(ports: Ports) -> bool:
    """Whether the volume server has joined: the gateway answers before that, but a write then takes seconds.

    The master's page is all that it still serves over HTTP; it lists the locations of the servers that have joined.
    """
    return responds(f"http://{LOOPBACK}:{ports.s3_master}/", containing=b"DefaultDataCenter")
