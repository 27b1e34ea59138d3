"""Access control of the engine: requests signed with the stack's own keys (AWS Signature Version 4), and no web pages.

moto checks nothing, and a client that can start a task runs code as the owner of the stack. A web page can send
requests to loopback, even under a host name of its own (DNS rebinding): a foreign Host or any Origin is refused before
the signature is checked.
"""

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from orchestration.platform.settings import EngineKeys

ALGORITHM: Final = "AWS4-HMAC-SHA256"
SKEW: Final = timedelta(minutes=15)
"""AWS' tolerance. Limits how long an intercepted request could be replayed."""
TIME_FORMAT: Final = "%Y%m%dT%H%M%SZ"


def from_a_page(environ: Mapping[str, Any], hosts: frozenset[str]) -> str | None:
    """Why a request may come from a web page. None if it does not. `hosts`: the engine's host names."""
    if environ.get("HTTP_ORIGIN") is not None or environ.get("HTTP_SEC_FETCH_SITE") is not None:
        return "requests from web pages are refused"
    host = _name(environ.get("HTTP_HOST", ""))
    return None if host in hosts else f"this server is not {host[:100]!r}"


def _name(host: str) -> str:
    """The host without its port; an IPv6 address keeps its brackets."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() else host).lower()


def unsigned(environ: Mapping[str, Any], body: bytes, keys: EngineKeys, now: datetime) -> str | None:
    """Why a request is not signed with `keys` (`aws_access_key_id`, `aws_secret_access_key`). None if it is."""
    try:
        given = _parse(str(environ.get("HTTP_AUTHORIZATION", "")))
        access_key, date, region, service, last = given["Credential"].split("/")
        names = given["SignedHeaders"].split(";")
        signed_at = str(environ["HTTP_X_AMZ_DATE"])
        age = abs(now - datetime.strptime(signed_at, TIME_FORMAT).replace(tzinfo=UTC))
    except (KeyError, ValueError):
        return "requests must be signed with the stack's keys (AWS Signature Version 4)"
    if access_key != keys["aws_access_key_id"] or last != "aws4_request" or not signed_at.startswith(date):
        return "the access key is not the stack's"
    if "host" not in names or "x-amz-date" not in names:
        return "host and x-amz-date must be signed"
    if age > SKEW:
        return "the request was signed too long ago"
    signer = SigV4Auth(Credentials(access_key, keys["aws_secret_access_key"]), service, region)
    request = AWSRequest(
        method=environ["REQUEST_METHOD"],
        url=f"http://{environ['HTTP_HOST']}{environ.get('RAW_URI', '/')}",
        headers={name: _header(environ, name) for name in names if name != "host"},
        data=body,
    )
    request.context["timestamp"] = signed_at
    # The signature must cover the received body, not what a header claims about it.
    del request.headers["X-Amz-Content-SHA256"]
    wanted = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    return (
        None if hmac.compare_digest(wanted, given["Signature"]) else "the signature was not made with the stack's key"
    )


def _parse(authorization: str) -> Mapping[str, str]:
    algorithm, _, rest = authorization.partition(" ")
    if algorithm != ALGORITHM:
        raise ValueError(algorithm)
    return dict(part.strip().split("=", 1) for part in rest.split(","))


def _header(environ: Mapping[str, Any], name: str) -> str:
    key = name.upper().replace("-", "_")
    return str(environ.get(key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}", ""))
