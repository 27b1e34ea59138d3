"""What the service says of itself: its health, the proof that it knows a token, and codes for its console."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from orchestration.records.fields import EXAMPLE_TIME, Example, Time


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleCode:
    """A code that works once, within a minute: `url` begins a session if it is entered in the address bar.

    `confirm_url` asks first, and may also be a link. `path`: that of `url`.
    """

    path: str
    url: str
    confirm_url: str
    expires_at: Time
    example: ClassVar[Example] = {
        "path": "/login/code?code=" + "x" * 43,
        "url": "https://muster.example/login/code?code=" + "x" * 43,
        "confirm_url": "https://muster.example/console/open?code=" + "x" * 43,
        "expires_at": EXAMPLE_TIME,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceProof:
    """`proof`: HMAC-SHA-256, in hexadecimal, over the lines `muster service proof`, nonce and `address`.

    Its key is the SHA-256 of the token. `address`: where the client has reached the service.
    """

    address: str
    proof: str
    example: ClassVar[Example] = {"address": "127.0.0.1:18480", "proof": "0" * 64}


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The service answers, and so does the catalog."""

    status: Literal["ok"]
    version: str
    example: ClassVar[Example] = {"status": "ok", "version": "0.1.0"}
