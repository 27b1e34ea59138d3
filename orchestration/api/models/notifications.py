"""Notifications that have not been delivered."""

from typing import Annotated, ClassVar

from pydantic import Field

from orchestration.access.bodies.common import AT, GRAPHIC, JOB, Example, Shape
from orchestration.api.schema import model_of
from orchestration.records import notifications

MOST = 10_000
Notification = model_of(notifications.Notification)


class Notifications(Shape):
    """Notifications that are waiting or were given up, of all tenants. `more`: there are others."""

    items: list[Notification]  # type: ignore[valid-type]  # made from the record
    more: bool
    example: ClassVar[Example] = {
        "items": [
            {
                "notification": "9f86d081884c7d659a2feaa0c55ad015",
                "subject": JOB,
                "outcome": "system-error",
                "channel": "email",
                "recipient": "ops@acme.example",
                "state": "given up",
                "attempts": 9,
                "created_at": AT,
                "delivered_at": None,
                "next_attempt_at": None,
                "last_error": "the server refused the recipient",
            }
        ],
        "more": False,
    }


class NewResend(Shape):
    """Ids of notifications to deliver again; null: all that were given up."""

    notifications: Annotated[
        list[Annotated[str, Field(max_length=64, pattern=GRAPHIC)]] | None, Field(min_length=1, max_length=MOST)
    ]
    example: ClassVar[Example] = {"notifications": None}


class Resent(Shape):
    """How many will be delivered again within seconds."""

    resent: int
    example: ClassVar[Example] = {"resent": 2}
