"""Options that select what an export takes of a version, and the request that all export options add up to."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, cast

import typer

from schemas.export_shape import AudienceVersion, ExportShape, Lookup, column_names
from schemas.manifest import Compression, ExportFormat, FileFormat, FormulaPolicy

Profile = Annotated[
    str | None,
    typer.Option("--profile", metavar="NAME", help="Profile in destinations.toml whose credentials are used."),
]
ExportedName = Annotated[str, typer.Argument(metavar="AUDIENCE|SEGMENT", help="Name of the audience or segment.")]
AllowShrink = Annotated[
    bool, typer.Option("--allow-shrink", help="Of a segment: export regardless of how many members have left.")
]
MIB: Final = 1024 * 1024
Where = Annotated[
    str | None, typer.Option("--where", metavar="CONDITION", help="Export only rows that match this condition.")
]
Attributes = Annotated[
    list[str] | None,
    typer.Option(
        "--attributes", metavar="AUDIENCE:COLUMN,...[@N]", help="Columns to look up in another audience (repeatable)."
    ),
]
Suppress = Annotated[
    list[str] | None,
    typer.Option("--suppress", metavar="AUDIENCE[@N]", help="Leave out the members of another audience (repeatable)."),
]
Columns = Annotated[
    str | None, typer.Option("--columns", metavar="COLUMN,...", help="Export only user_id and these columns.")
]
PartitionBy = Annotated[
    str | None, typer.Option("--partition-by", metavar="COLUMN,...", help="Write folders by value: country=JP/.")
]
RowGroupRows = Annotated[
    int | None, typer.Option("--row-group-rows", metavar="N", min=1, help="Rows per row group of Parquet.")
]


def export_shape(
    where: str | None,
    attributes: Sequence[str] | None,
    suppress: Sequence[str] | None,
    columns: str | None,
    partition_by: str | None,
) -> ExportShape:
    """The shape that the options describe. Raises `UserError` BAD_SHAPE, BAD_NAME."""
    return ExportShape(
        where=where,
        attributes=tuple(Lookup.parse(text) for text in attributes or ()),
        suppress=tuple(AudienceVersion.parse(text) for text in suppress or ()),
        columns=None if columns is None else column_names(columns) if columns else (),
        partition_by=column_names(partition_by) if partition_by else (),
    )


def export_format(format_: str, compression: str, null: str, formulas: str) -> ExportFormat:
    """The format that the options describe. Raises `UserError` BAD_FORMAT."""
    return ExportFormat(
        format=cast("FileFormat", format_),
        compression=cast("Compression", compression),
        null_token=null if format_ == "csv" else None,
        formulas=cast("FormulaPolicy", formulas),
    )


def export_members(
    *,
    audience: str,
    to: str,
    format_: str,
    compression: str,
    null: str,
    formulas: str,
    target_mb: int,
    where: str | None,
    attributes: list[str] | None,
    suppress: list[str] | None,
    columns: str | None,
    partition_by: str | None,
    row_group_rows: int | None,
    profile: str | None = None,
    allow_shrink: bool = False,
) -> dict[str, Any]:
    """The same as members of `NewExport` (docs/openapi.json). Raises `UserError` BAD_FORMAT, BAD_SHAPE, BAD_NAME."""
    export_format(format_, compression, null, formulas)
    return {
        "audience": audience,
        "to": to,
        "format": format_,
        "compression": compression,
        "null": null,
        "formulas": formulas,
        "target_mb": target_mb,
        "profile": profile,
        "row_group_rows": row_group_rows,
        **({"allow_shrink": True} if allow_shrink else {}),
        **export_shape(where, attributes, suppress, columns, partition_by).as_record(),
    }
