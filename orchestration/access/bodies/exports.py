"""Bodies of requests that start exports."""

from typing import Annotated, Any, ClassVar

from pydantic import Field

from orchestration.access.bodies.common import Address, ColumnName, ResourceName, Shape, VersionNumber
from orchestration.records.fields import Example
from schemas.manifest import Compression, FileFormat, FormulaPolicy

SinceExport = Annotated[str, Field(max_length=26, pattern="^(last|[0-9a-hjkmnp-tv-z]{26})$")]


class Selected(Shape):
    """A version of another audience of the tenant; the current one without `version`."""

    audience: ResourceName
    version: VersionNumber | None = None


class LookedUp(Selected):
    """Columns that are looked up in it."""

    columns: Annotated[list[ColumnName], Field(max_length=1000)]


class NewExport(Shape):
    """An export of a version of an audience: a number, or the one that was current at `as_of`; else the current one.

    `audience` may name a segment: a snapshot first makes its members a version of the audience SEGMENT-snapshot,
    however many have left if `allow_shrink`.

    `to`: `download` (its files are fetched from `/exports/{id}/files` within a day), s3://bucket/prefix or
    kafka://TOPIC. `delta_from`: only what was added and removed since that version, or since an export: its id, or
    `last` for the last one of the audience to this destination. `where`: a filter (docs/filters.md); `suppress`: leave
    out the members of these audiences, besides those of the tenant's consent policy.
    """

    audience: ResourceName
    to: Address
    version: VersionNumber | None = None
    as_of: Annotated[str, Field(max_length=40)] | None = None
    delta_from: VersionNumber | SinceExport | None = None
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
    allow_shrink: bool = False
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
