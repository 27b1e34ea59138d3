"""Bodies of requests that start imports."""

from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, Field

from orchestration.access.bodies.common import Address, ColumnName, Id, ResourceName, Shape
from orchestration.records.fields import EXAMPLE_ID, Example
from schemas.columns import ColumnType, ImportKind, ImportMode
from schemas.ids import USER_ID_MAX_CHARACTERS
from schemas.import_formats import ImportFormat
from schemas.import_targets import MAX_BUILD_SQL, MAX_NAMED_USERS
from schemas.text_form import Delimiter, TextEncoding
from segmentation.intake.refusals import RefusalCode, Refused
from segmentation.intake.texts import check_text

MAX_UPLOADS: Final = 1_000
"""Of one import; each is looked up while the request waits. More files lie below a prefix."""


BuildSql = Annotated[str, Field(min_length=1, max_length=MAX_BUILD_SQL)]


class NewColumn(Shape):
    """A column that is kept. `source`: its name in the file, if it differs.

    `rounded`: of a double in Parquet, numbers that no double holds, such as most decimals, become the nearest one.
    """

    name: ColumnName
    type: ColumnType = "string"
    source: ColumnName | None = None
    rounded: bool = False

    def as_record(self) -> dict[str, Any]:
        """As in an import spec."""
        return self.model_dump(mode="json", exclude=None if self.rounded else {"rounded"})


class ImportSettings(Shape):
    """How files are read, and which are refused. Omitted and null fields come from the audience.

    `delimiter` and `encoding` are those of CSV files. `max_shrink_percent` null: publish regardless of how many members
    are lost. `allow_missing_columns`: kept columns that the file may lack, besides those that the audience allows; []
    for none.
    """

    mode: ImportMode | None = None
    id_column: ColumnName | None = None
    columns: Annotated[list[NewColumn], Field(max_length=1000)] | None = None
    format: ImportFormat | None = None
    timezone: Annotated[str, Field(max_length=50)] | None = None
    max_reject_share: Annotated[float, Field(ge=0, le=1)] | None = None
    allow_empty: bool | None = None
    max_shrink_percent: Annotated[float, Field(ge=0, le=100)] | None = None
    delimiter: Delimiter | None = None
    encoding: TextEncoding | None = None
    null_values: Annotated[list[Annotated[str, Field(max_length=1000)]], Field(max_length=100)] | None = None
    drop_columns: Annotated[list[ColumnName], Field(max_length=1000)] | None = None
    retype_columns: Annotated[list[ColumnName], Field(max_length=1000)] | None = None
    allow_missing_columns: Annotated[list[ColumnName], Field(max_length=1000)] | None = None

    def edits(self) -> dict[str, Any]:
        """As `changes`, and None for each that is null."""
        return {**self.model_dump(mode="json", exclude_unset=True), **self.changes()}

    def changes(self) -> dict[str, Any]:
        """As keys of an import spec."""
        given = self.model_dump(mode="json", exclude_unset=True)
        changes = {name: value for name, value in given.items() if value is not None or name == "max_shrink_percent"}
        if self.columns is not None:
            changes["columns"] = [one.as_record() for one in self.columns]
        return changes


class NewImport(Shape):
    """An import of an object (`source`, s3://bucket/key), or of an upload. `settings` are for this import alone.

    Several files are one import: all below a prefix (`source`, s3://bucket/prefix/), those that a `list` at
    s3://bucket/key names (a URI a line, or the manifest of an UNLOAD), or several `uploads`, in their order.

    Or the import of what a query (`sql`) finds, as `POST /queries` takes it: a column user_id, and those to keep. It
    needs the action read_users, too, and reads the tenant's own data. Its settings are the mode, the limits and the
    permissions to drop and retype columns.

    `kind` events or profiles: of the whole tenant, without an audience; `only_columns`: keep no columns but those in
    the settings. `manifest`: s3://bucket/key, of the export that wrote the file. `again`: even if the file was
    imported before; without it, the job is a duplicate of the one that imports or imported the same objects, or
    uploads with the same contents, into the same audience with the same settings.
    """

    kind: ImportKind = "audience"
    audience: ResourceName | None = None
    source: Address | None = None
    upload: Id | None = None
    uploads: Annotated[list[Id], Field(max_length=MAX_UPLOADS)] = Field(default_factory=list)
    list: Address | None = None
    sql: BuildSql | None = None
    settings: ImportSettings = ImportSettings()
    only_columns: bool = False
    manifest: Address | None = None
    again: bool = False
    example: ClassVar[Example] = {"audience": "vip", "upload": EXAMPLE_ID, "settings": {"mode": "append"}}

    def order(self) -> dict[str, Any]:
        """As an `ImportOrder`."""
        unused = {name for name in ("list", "uploads", "sql") if not getattr(self, name)}
        return {**self.model_dump(exclude={"settings", *unused}), "changes": self.settings.changes()}


def _member_id(text: str) -> str:
    """An id that a file could have as well."""
    try:
        check_text(text, RefusalCode.BAD_USER_ID, "the user id", USER_ID_MAX_CHARACTERS)
    except Refused as exc:
        raise ValueError(exc.reason) from exc
    return text


MemberId = Annotated[str, Field(min_length=1, max_length=USER_ID_MAX_CHARACTERS), AfterValidator(_member_id)]


class NamedUsers(Shape):
    """Users by their ids, at most 100. One that is named twice counts as a duplicate in the receipt."""

    users: Annotated[list[MemberId], Field(min_length=1, max_length=MAX_NAMED_USERS)]
    example: ClassVar[Example] = {"users": ["ann"]}
