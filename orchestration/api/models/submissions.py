"""Jobs that are started, cancelled and retried."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from orchestration.access.bodies.common import GRAPHIC, JOB, Example, Id, ResourceName, Shape, VersionNumber
from orchestration.api.models.jobs import ExportJob, ImportJob
from schemas.columns import ColumnType, ImportKind, ImportMode
from schemas.import_formats import ImportFormat
from schemas.manifest import Compression, FileFormat, FormulaPolicy

Address = Annotated[str, Field(max_length=2048, pattern=GRAPHIC)]
ColumnName = Annotated[str, Field(max_length=255)]


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

    `max_shrink_percent` null: publish regardless of how many members are lost. `allow_missing_columns`: kept columns
    that the file may lack, besides those that the audience allows; [] for none.
    """

    mode: ImportMode | None = None
    id_column: ColumnName | None = None
    columns: Annotated[list[NewColumn], Field(max_length=1000)] | None = None
    format: ImportFormat | None = None
    timezone: Annotated[str, Field(max_length=50)] | None = None
    max_reject_share: Annotated[float, Field(ge=0, le=1)] | None = None
    allow_empty: bool | None = None
    max_shrink_percent: Annotated[float, Field(ge=0, le=100)] | None = None
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

    `kind` events or profiles: of the whole tenant, without an audience; `only_columns`: keep no columns but those in
    the settings. `manifest`: s3://bucket/key, of the export that wrote the file. `again`: even if the file was
    imported before; without it, the job is a duplicate of the one that imports or imported the same object, or an
    upload with the same content, into the same audience with the same settings.
    """

    kind: ImportKind = "audience"
    audience: ResourceName | None = None
    source: Address | None = None
    upload: Id | None = None
    settings: ImportSettings = ImportSettings()
    only_columns: bool = False
    manifest: Address | None = None
    again: bool = False
    example: ClassVar[Example] = {"audience": "vip", "upload": JOB, "settings": {"mode": "append"}}

    def order(self) -> dict[str, Any]:
        """As an `ImportOrder`."""
        return {**self.model_dump(exclude={"settings"}), "changes": self.settings.changes()}


class Started(Shape):
    """A job that was started. It is registered within seconds: until then its id is unknown."""

    job: Id
    state: Literal["SUBMITTED"]
    example: ClassVar[Example] = {"job": JOB, "state": "SUBMITTED"}


class StartedExport(Shape):
    """An export that was started. It is registered within seconds: until then its id is unknown."""

    export: Id
    state: Literal["SUBMITTED"]
    example: ClassVar[Example] = {"export": JOB, "state": "SUBMITTED"}


class Selected(Shape):
    """A version of another audience of the tenant; the current one without `version`."""

    audience: ResourceName
    version: VersionNumber | None = None


class LookedUp(Selected):
    """Columns that are looked up in it."""

    columns: Annotated[list[ColumnName], Field(max_length=1000)]


class NewExport(Shape):
    """An export of a version of an audience: a number, or the one that was current at `as_of`; else the current one.

    `to`: `download` (its files are fetched from `/exports/{id}/files` within a day), s3://bucket/prefix or
    kafka://TOPIC. `delta_from`: only what was added and removed since that version. `where`: a filter
    (docs/filters.md); `suppress`: leave out the members of these audiences.
    """

    audience: ResourceName
    to: Address
    version: VersionNumber | None = None
    as_of: Annotated[str, Field(max_length=40)] | None = None
    delta_from: VersionNumber | None = None
    format: FileFormat = "parquet"
    compression: Compression = "none"
    null: Annotated[str, Field(max_length=100, description='Text for "no value" in CSV.')] = "\\N"
    formulas: FormulaPolicy = "as-is"
    target_mb: Annotated[int, Field(ge=1, le=100_000)] = 256
    row_group_rows: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    profile: Annotated[str, Field(max_length=64)] | None = None
    where: Annotated[str, Field(max_length=100_000)] | None = None
    attributes: Annotated[list[LookedUp], Field(max_length=16, default_factory=list)]
    suppress: Annotated[list[Selected], Field(max_length=16, default_factory=list)]
    columns: Annotated[list[ColumnName], Field(max_length=1000)] | None = None
    partition_by: Annotated[list[ColumnName], Field(max_length=10, default_factory=list)]
    example: ClassVar[Example] = {"audience": "vip", "to": "download", "format": "csv", "compression": "gzip"}

    def request(self) -> dict[str, Any]:
        """As an export request without ids."""
        shape = {"where", "attributes", "suppress", "columns", "partition_by"}
        style = {"format", "compression", "null", "formulas", "target_mb"}
        return {
            **self.model_dump(mode="json", exclude=shape | style),
            "format": {
                "name": self.format,
                "compression": self.compression,
                "null_token": self.null if self.format == "csv" else None,
                "formulas": self.formulas,
            },
            "target_bytes": self.target_mb * 1024 * 1024,
            "shape": self.model_dump(mode="json", include=shape),
        }


class CancelledImport(ImportJob):
    """A cancelled import or snapshot. `already`: it was cancelled before. `warnings`: what is done within seconds."""

    already: bool
    warnings: list[str]
    example: ClassVar[Example] = {**ImportJob.example, "state": "CANCELLED", "already": False, "warnings": []}


class CancelledExport(ExportJob):
    """A cancelled export."""

    already: bool
    warnings: list[str]


class Retry(Shape):
    """How to run a job again.

    `with_audience_settings`: with the present settings of its audience. `force`: even if the file was at fault.
    `allow_shrink`: for this run, however many members leave the audience.
    """

    with_audience_settings: bool = False
    force: bool = False
    allow_shrink: bool = False
    example: ClassVar[Example] = {"with_audience_settings": True}


class Retried(Started):
    """A new job for the source of an earlier one."""

    retry_of: Id
    example: ClassVar[Example] = {**Started.example, "retry_of": JOB}


class RetriedExport(StartedExport):
    """A new export of the same version to the same destination."""

    retry_of: Id
    example: ClassVar[Example] = {**StartedExport.example, "retry_of": JOB}


class ExportFile(Shape):
    """One file; `key` is its path below the manifest. `url` is valid for five minutes."""

    key: str
    rows: int
    bytes: int
    sha256: str
    url: str


class ExportFiles(Shape):
    """The files of an export. `manifest`: the URL of its manifest."""

    export: Id
    version: int
    rows: int
    manifest: str
    items: list[ExportFile]
    example: ClassVar[Example] = {
        "export": JOB,
        "version": 3,
        "rows": 3,
        "manifest": "https://s3.example/staging/download/acme/x/manifest.json?X-Amz-Signature=...",
        "items": [
            {
                "key": "vip-v3-00000.csv.gz",
                "rows": 3,
                "bytes": 120,
                "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                "url": "https://s3.example/staging/download/acme/x/vip-v3-00000.csv.gz?X-Amz-Signature=...",
            }
        ],
    }
