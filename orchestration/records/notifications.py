"""Notifications and their delivery."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from orchestration.records.fields import EXAMPLE_ID, EXAMPLE_TIME, Example, Time


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """A notification about the end of a job. `recipient` is null for those who do not manage audiences."""

    notification: str
    subject: str
    outcome: str
    channel: Literal["log", "email", "webhook"]
    recipient: str | None
    state: str
    attempts: int
    created_at: Time
    delivered_at: Time | None
    next_attempt_at: Time | None
    last_error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifications:
    """Notifications that are waiting or were given up, of all tenants. `more`: there are others."""

    items: Sequence[Notification]
    more: bool
    example: ClassVar[Example] = {
        "items": [
            {
                "notification": "9f86d081884c7d659a2feaa0c55ad015",
                "subject": EXAMPLE_ID,
                "outcome": "system-error",
                "channel": "email",
                "recipient": "ops@acme.example",
                "state": "given up",
                "attempts": 9,
                "created_at": EXAMPLE_TIME,
                "delivered_at": None,
                "next_attempt_at": None,
                "last_error": "the server refused the recipient",
            }
        ],
        "more": False,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Resent:
    """How many will be delivered again within seconds."""

    resent: int
    example: ClassVar[Example] = {"resent": 2}
