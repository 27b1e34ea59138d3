"""Bodies of requests about recipients of notifications."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from orchestration.access.bodies.common import Shape
from orchestration.records.fields import Example


class NewTest(Shape):
    """A recipient to send a test notification to. `address`: as it is shown, a URL without its query."""

    address: Annotated[str, Field(max_length=2000)]
    channel: Literal["email", "webhook"]
    example: ClassVar[Example] = {"channel": "email", "address": "ops@acme.example"}


Emails = Annotated[list[Annotated[str, Field(max_length=254)]], Field(max_length=50)]
Webhooks = Annotated[list[Annotated[str, Field(max_length=2000)]], Field(max_length=50)]


class NewRecipients(Shape):
    """All recipients: mail addresses, and URLs of webhooks (https)."""

    email: Emails
    webhook: Webhooks
    example: ClassVar[Example] = {"email": ["ops@acme.example"], "webhook": []}


class ChangedRecipients(Shape):
    """All recipients of a channel; null leaves those of the channel as they are."""

    email: Emails | None = None
    webhook: Webhooks | None = None
    example: ClassVar[Example] = {"email": ["ops@acme.example"]}
