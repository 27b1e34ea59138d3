"""Recipients of notices."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from orchestration.api.models.common import Example, Shape


class Recipient(Shape):
    """Who is notified. A URL is shown without its query."""

    channel: Literal["log", "email", "webhook"]
    address: str


class Recipients(Shape):
    """Recipients of notices."""

    items: list[Recipient]
    example: ClassVar[Example] = {"items": [{"channel": "email", "address": "ops@acme.example"}]}


class NewRecipients(Shape):
    """All recipients: mail addresses, and URLs of webhooks (https)."""

    email: Annotated[list[Annotated[str, Field(max_length=254)]], Field(max_length=50)]
    webhook: Annotated[list[Annotated[str, Field(max_length=2000)]], Field(max_length=50)]
    example: ClassVar[Example] = {"email": ["ops@acme.example"], "webhook": []}
