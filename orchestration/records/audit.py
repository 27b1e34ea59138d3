"""The audit trail."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from orchestration.records.fields import EXAMPLE_ID, EXAMPLE_TIME, Example, Id, Time


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """Who did what. `principal` and `request_id` are null for local commands and for Muster itself."""

    entry: Id
    at: Time
    job: Id | None
    actor: str
    action: str
    object: str
    arguments: Mapping[str, Any]
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    error: str | None
    principal: Id | None
    token: Id | None
    session: Id | None
    request_id: Id | None
    page: ClassVar = "AuditPage"
    example: ClassVar[Example] = {
        "entry": EXAMPLE_ID,
        "at": EXAMPLE_TIME,
        "job": EXAMPLE_ID,
        "actor": "ann",
        "action": "rejects",
        "object": "acme/vip",
        "arguments": {},
        "before": None,
        "after": None,
        "error": None,
        "principal": EXAMPLE_ID,
        "token": EXAMPLE_ID,
        "session": None,
        "request_id": EXAMPLE_ID,
    }
