"""Proof Key for Code Exchange (RFC 7636), method S256."""

import hashlib
import hmac
import re
from typing import Final

from orchestration.access.opaque import urlsafe

CHALLENGE: Final = re.compile(r"[0-9A-Za-z_-]{43}", re.ASCII)
VERIFIER: Final = re.compile(r"[0-9A-Za-z._~-]{43,128}", re.ASCII)


def challenge_of(verifier: str) -> str:
    """The value sent with the request for a code."""
    return urlsafe(hashlib.sha256(verifier.encode("ascii")).digest())


def proves(verifier: str, challenge: str) -> bool:
    """Whether a verifier is that of a challenge."""
    return bool(VERIFIER.fullmatch(verifier)) and hmac.compare_digest(challenge_of(verifier), challenge)
