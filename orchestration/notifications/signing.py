"""Signatures of webhooks: HMAC-SHA256 over the timestamp, a dot and the body. docs/notifications.md shows the check."""

import hashlib
import hmac
from collections.abc import Mapping

from orchestration.platform.settings import Secret
from schemas.ids import TenantName


def signing_key(secret: Secret, tenant: TenantName | None) -> Secret:
    """The key for one tenant's receivers, or the operators': no tenant can sign in the name of another."""
    owner = "operators" if tenant is None else f"tenant:{tenant}"
    return Secret(
        hmac.new(secret.reveal().encode(), f"muster webhook key {owner}".encode(), hashlib.sha256).hexdigest()
    )


def headers(key: Secret, id_: str, body: bytes, now_s: int) -> Mapping[str, str]:
    """The headers of one attempt. Timestamp of the attempt, idempotency key of the notification."""
    signature = hmac.new(key.reveal().encode(), str(now_s).encode() + b"." + body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json",
        "User-Agent": "muster",
        "Idempotency-Key": id_,
        "Muster-Timestamp": str(now_s),
        "Muster-Signature": f"v1={signature}",
    }
