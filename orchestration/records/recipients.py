"""Recipients of notifications."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from orchestration.records.fields import Example


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """Who is notified. A URL is shown without its query."""

    channel: Literal["log", "email", "webhook"]
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipients:
    """Recipients of notifications. `warnings`: what the service lacks to reach them."""

    items: Sequence[Recipient]
    warnings: Sequence[str]
    example: ClassVar[Example] = {"items": [{"channel": "email", "address": "ops@acme.example"}], "warnings": []}
