"""Notifications about the ends of jobs."""

from dataclasses import dataclass
from typing import Literal

from orchestration.records.fields import Time


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
