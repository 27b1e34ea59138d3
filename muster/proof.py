"""A token goes out in the clear only to a listener that has proved that it knows the token.

On loopback there is no TLS, and while the service is down, every user of the machine can listen on its port. So the
client opens a connection, sends the public id of its token and a random nonce, and compares the answer with what only
the service and the owner of the token can compute: an HMAC over nonce and address, with the SHA-256 of the token as its
key. Then it sends the token on the same connection. The address keeps another listener from passing the challenge on to
the service.
"""

import hashlib
import hmac
import http.client
import json
import os
from typing import Final
from urllib.parse import urlencode

from muster.errors import ApiError

PATH: Final = "/v1/service-proof"
_CONTEXT: Final = "muster service proof"
_MAX_ANSWER_BYTES: Final = 1000
_TOKEN_PARTS: Final = 4


def proof_of(digest: bytes, nonce: str, address: str) -> str:
    """What the service answers at `address`. `digest`: SHA-256 of the token."""
    return hmac.digest(digest, f"{_CONTEXT}\n{nonce}\n{address}".encode(), "sha256").hex()


def demand_proof(connection: http.client.HTTPConnection, base: str, token: str) -> None:
    """Ask what listens at the other end of an open connection for a proof. `base`: the path before that of the API.

    Raises `ApiError` BAD_TOKEN, UNPROVEN_SERVICE, API_UNREACHABLE, and as `http.client`.
    """
    parts, nonce = token.split("_"), os.urandom(32).hex()
    if len(parts) != _TOKEN_PARTS:
        raise ApiError("BAD_TOKEN", "this is not a complete token: tokens look like mst_..._..._...", kind="user")
    host, port = connection.sock.getpeername()[:2]
    called = f"{host}:{port}"
    query = urlencode({"token": parts[1], "nonce": nonce})
    connection.request("GET", f"{base}{PATH}?{query}", headers={"Accept": "application/json"})
    answer = connection.getresponse()
    content = answer.read(_MAX_ANSWER_BYTES)
    if answer.status in {429, 503}:
        raise ApiError("API_UNREACHABLE", f"the service at {called} is busy or lacks its catalog", kind="retriable")
    address, proof = _read(content)
    expected = proof_of(hashlib.sha256(token.encode()).digest(), nonce, address)
    if not hmac.compare_digest(proof.encode(), expected.encode()):
        raise _unproven(
            f"what listens on {called} could not prove that it knows your token, so the token was not sent. Another "
            "program, another home's service or an earlier release of Muster listens there, or the token was removed: "
            "`muster status` shows your stack, `muster down` and `muster up` start it again, `muster login` takes "
            "another token"
        )
    if address != called:
        raise _unproven(
            f"the service that knows your token listens on {address}, not on {called}, so the token was not sent: use "
            "the same port on both sides of a tunnel or container, or https"
        )


def _read(content: bytes) -> tuple[str, str]:
    try:
        found = json.loads(content)
        return str(found["address"]), str(found["proof"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return "", ""


def _unproven(message: str) -> ApiError:
    return ApiError("UNPROVEN_SERVICE", message, kind="user")
