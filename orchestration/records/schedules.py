"""Recurring imports, exports and snapshots."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from orchestration.records.fields import EXAMPLE_ID, EXAMPLE_TIME, Example, Id, Time


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A recurring import, export or snapshot, with its last run."""

    schedule: Id
    tenant: str
    name: str
    kind: Literal["import", "export", "snapshot"]
    expression: str
    timezone: str
    enabled: bool
    created_at: Time
    next_due: Time | None
    request: Mapping[str, Any]
    trouble: Mapping[str, Any] | None
    last: Mapping[str, Any] | None
    revision: ClassVar = ("schedule", "expression", "timezone", "enabled", "request")
    example: ClassVar[Example] = {
        "schedule": EXAMPLE_ID,
        "tenant": "acme",
        "name": "nightly",
        "kind": "import",
        "expression": "cron(0 6 * * ? *)",
        "timezone": "UTC",
        "enabled": True,
        "created_at": EXAMPLE_TIME,
        "next_due": EXAMPLE_TIME,
        "request": {"tenant": "acme", "audience": "vip", "bucket": "crm", "key": "vip-{date}.csv"},
        "trouble": None,
        "last": None,
    }
