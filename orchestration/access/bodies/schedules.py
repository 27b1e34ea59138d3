"""Bodies of requests about schedules."""

from typing import Annotated, Any, ClassVar, Final

from pydantic import Field, model_validator

from orchestration.access.bodies.common import Address, ColumnName, ResourceName, Shape
from orchestration.access.bodies.exports import LookedUp, NewExport, Selected
from orchestration.access.bodies.imports import BuildSql, ImportSettings, NewImport
from orchestration.records.fields import Example
from schemas.manifest import Compression, FileFormat, FormulaPolicy

SHAPE: Final = ("where", "attributes", "suppress", "columns", "partition_by")
STYLE: Final = {"format": "name", "compression": "compression", "null": "null_token", "formulas": "formulas"}
"""Members of an export request's format, by those of the API."""


class ScheduledExport(NewExport):
    """An export that recurs. An address in a bucket has placeholders for each run's time (docs/schedules.md).

    `since_last`: only what has changed since the last one.
    """

    since_last: bool = False

    def request(self) -> dict[str, Any]:
        """As an export request without ids, and `since_last`."""
        return {**super().request(), "since_last": self.since_last}


class ScheduledSnapshot(Shape):
    """A snapshot that recurs."""

    segment: ResourceName
    audience: ResourceName | None = None
    allow_shrink: bool = False


class NewSchedule(Shape):
    """A schedule: rate(...), cron(...) or at(...) in a time zone (IANA), of an import, an export or a snapshot."""

    name: ResourceName
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


class ImportChange(Shape):
    """Changes to a recurring import: omitted fields stay. A setting that is null follows the audience again."""

    source: Address | None = None
    list: Address | None = None
    sql: BuildSql | None = None
    settings: ImportSettings | None = None
    only_columns: bool | None = None
    again: bool | None = None

    def given(self) -> dict[str, Any]:
        """As members of an `ImportOrder`."""
        members = self.model_dump(exclude={"settings"}, exclude_none=True)
        if self.settings is None:
            return members
        changes = self.settings.edits()
        return {**members, "changes": changes} if changes else members


class ExportChange(Shape):
    """Changes to a recurring export: omitted fields stay. Null: no `where`, profile or row groups, all columns."""

    to: Address | None = None
    since_last: bool | None = None
    format: FileFormat | None = None
    compression: Compression | None = None
    null: Annotated[str, Field(max_length=100)] | None = None
    formulas: FormulaPolicy | None = None
    target_mb: Annotated[int, Field(ge=1, le=100_000)] | None = None
    row_group_rows: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    profile: Annotated[str, Field(max_length=64)] | None = None
    where: Annotated[str, Field(max_length=100_000)] | None = None
    attributes: Annotated[list[LookedUp], Field(max_length=16)] | None = None
    suppress: Annotated[list[Selected], Field(max_length=16)] | None = None
    columns: Annotated[list[ColumnName], Field(max_length=1000)] | None = None
    partition_by: Annotated[list[ColumnName], Field(max_length=10)] | None = None
    allow_shrink: bool | None = None

    def given(self) -> dict[str, Any]:
        """As members of an export request."""
        nullable = {"row_group_rows", "profile", "where", "columns"}
        members = self.model_dump(mode="json", exclude_unset=True)
        members = {name: value for name, value in members.items() if value is not None or name in nullable}
        style = {STYLE[name]: members.pop(name) for name in STYLE if name in members}
        shape = {name: members.pop(name) for name in SHAPE if name in members}
        if "target_mb" in members:
            members["target_bytes"] = members.pop("target_mb") * 1024 * 1024
        return {**members, **({"format": style} if style else {}), **({"shape": shape} if shape else {})}


class SnapshotChange(Shape):
    """Changes to a recurring snapshot: omitted fields stay."""

    audience: ResourceName | None = None
    allow_shrink: bool | None = None


class ScheduleChange(Shape):
    """Changes when a schedule runs or what it runs; pauses it (`enabled` false) or resumes it. Omitted fields stay.

    An edit changes neither the kind of a schedule nor its audience or segment.
    """

    enabled: bool | None = None
    expression: Annotated[str, Field(max_length=256)] | None = None
    timezone: Annotated[str, Field(max_length=50)] | None = None
    imports: Annotated[ImportChange | None, Field(alias="import")] = None
    export: ExportChange | None = None
    snapshot: SnapshotChange | None = None
    example: ClassVar[Example] = {"expression": "cron(0 7 * * ? *)", "timezone": "Europe/Berlin"}

    @model_validator(mode="after")
    def _something(self) -> "ScheduleChange":
        if not self.given():
            raise ValueError("name what is to change")
        return self

    def given(self) -> dict[str, Any]:
        """The changes, without what stays."""
        changes = {
            "enabled": self.enabled,
            "expression": self.expression,
            "timezone": self.timezone,
            "import": None if self.imports is None else self.imports.given(),
            "export": None if self.export is None else self.export.given(),
            "snapshot": None if self.snapshot is None else self.snapshot.model_dump(exclude_none=True),
        }
        return {name: value for name, value in changes.items() if value not in (None, {})}
