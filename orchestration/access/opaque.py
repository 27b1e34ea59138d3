"""Opaque values of 256 random bits: cookies, one-time codes, states of logins. The catalog keeps their SHA-256."""

import base64
import hashlib
import re
from typing import Final

from orchestration.platform.clock import fresh_secret
from orchestration.platform.settings import Secret

FORM: Final = re.compile(r"[0-9A-Za-z_-]{43}", re.ASCII)


def fresh_opaque() -> Secret:
    """A new value: 43 characters that may stand in URLs and cookies."""
    return Secret(urlsafe(fresh_secret()))


def opaque_digest(text: str) -> str | None:
    """SHA-256 in hexadecimal. None for anything else."""
    return hashlib.sha256(text.encode()).hexdigest() if FORM.fullmatch(text) else None


def urlsafe(content: bytes) -> str:
    """Base64 for URLs, without padding."""
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
