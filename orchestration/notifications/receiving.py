"""Checks a webhook of Muster. Needs nothing but the standard library: receivers may copy it."""

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping, MutableSet
from typing import Any

MAX_AGE_S = 300


class RefusedError(Exception):
    """Not from Muster, changed on its way, or a replay: answer 400."""


def verify(
    keys: Iterable[str], headers: Mapping[str, str], body: bytes, *, now_s: float, seen: MutableSet[str]
) -> dict[str, Any] | None:
    """The message, or none when it came before (answer 2xx, do nothing). `keys`: the key, while it changes both."""
    given = {name.lower(): value for name, value in headers.items()}
    timestamp, signatures = given.get("muster-timestamp", ""), given.get("muster-signature", "").split(",")
    signed = timestamp.encode() + b"." + body
    expected = ["v1=" + hmac.new(key.encode(), signed, hashlib.sha256).hexdigest() for key in keys]
    if not any(hmac.compare_digest(e.encode(), s.strip().encode()) for e in expected for s in signatures):
        raise RefusedError("the signature does not match")
    if abs(now_s - int(timestamp)) > MAX_AGE_S:
        raise RefusedError("the timestamp is stale")
    message: dict[str, Any] = json.loads(body)
    if message["id"] in seen:  # of the signed body: nobody signs the header Idempotency-Key
        return None
    seen.add(message["id"])
    return message
