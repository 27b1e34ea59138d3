"""Schedules."""

from typing import Any, ClassVar, Literal

from orchestration.api.models.common import AT, JOB, Example, Id, Shape, Time, page_of


class Schedule(Shape):
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
    request: dict[str, Any]
    trouble: dict[str, Any] | None
    last: dict[str, Any] | None
    example: ClassVar[Example] = {
        "schedule": JOB,
        "tenant": "acme",
        "name": "nightly",
        "kind": "import",
        "expression": "cron(0 6 * * ? *)",
        "timezone": "UTC",
        "enabled": True,
        "created_at": AT,
        "next_due": AT,
        "request": {"tenant": "acme", "audience": "vip", "bucket": "crm", "key": "vip-{date}.csv"},
        "trouble": None,
        "last": None,
    }


class SchedulePage(Shape):
    """Schedules by name."""

    items: list[Schedule]
    next: str | None
    example: ClassVar[Example] = page_of(Schedule.example)
