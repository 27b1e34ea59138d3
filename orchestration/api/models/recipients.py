"""Recipients of notices."""

from typing import ClassVar, Literal

from orchestration.api.models.common import Example, Shape


class Recipient(Shape):
    """Who is notified. A URL is shown without its query."""

    channel: Literal["log", "email", "webhook"]
    address: str


class Recipients(Shape):
    """Recipients of notices."""

    items: list[Recipient]
    example: ClassVar[Example] = {"items": [{"channel": "email", "address": "ops@acme.example"}]}
