"""Schedules."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from orchestration.api.models.common import AT, JOB, Example, Id, Shape, Time, page_of
from orchestration.api.models.submissions import AudienceName, NewExport, NewImport


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


class ScheduledExport(NewExport):
    """An export that recurs. Its address has placeholders, so that each run writes elsewhere (docs/schedules.md).

    `since_last`: only what has changed since the last one.
    """

    since_last: bool = False

    def request(self) -> dict[str, Any]:
        """As an export request without ids, and `since_last`."""
        return {**super().request(), "since_last": self.since_last}


class ScheduledSnapshot(Shape):
    """A snapshot that recurs."""

    segment: AudienceName
    audience: AudienceName | None = None
    allow_shrink: bool = False


class NewSchedule(Shape):
    """A schedule: rate(...), cron(...) or at(...) in a time zone (IANA), of an import, an export or a snapshot."""

    name: AudienceName
    expression: Annotated[str, Field(max_length=256)]
    timezone: Annotated[str, Field(max_length=50)] = "UTC"
    imports: Annotated[NewImport | None, Field(alias="import")] = None
    export: ScheduledExport | None = None
    snapshot: ScheduledSnapshot | None = None
    example: ClassVar[Example] = {
        "name": "nightly",
        "expression": "cron(0 6 * * ? *)",
        "timezone": "Europe/Berlin",
        "import": {"audience": "vip", "source": "s3://crm/vip-{date}.csv"},
    }

    @model_validator(mode="after")
    def _one_kind(self) -> "NewSchedule":
        if sum(one is not None for one in (self.imports, self.export, self.snapshot)) != 1:
            raise ValueError("give one of import, export and snapshot")
        return self

    def given(self) -> dict[str, dict[str, Any]]:
        """The request of its kind."""
        if self.imports is not None:
            return {"import": self.imports.order()}
        if self.export is not None:
            return {"export": self.export.request()}
        return {"snapshot": {} if self.snapshot is None else self.snapshot.model_dump()}


class ScheduleChange(Shape):
    """Pauses or resumes a schedule."""

    enabled: bool
    example: ClassVar[Example] = {"enabled": False}
