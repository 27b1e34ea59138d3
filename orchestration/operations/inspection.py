"""Looking into a file before it is imported, and the command line that would import it."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, cast

from connectors.sources.inspection import Inspection, inspect
from orchestration.operations.submit import check_readable, source_of
from schemas.columns import USER_ID, Column, FileFormat

if TYPE_CHECKING:
    from orchestration.context import Context


def inspect_source(source: str, *, format_: str | None, context: "Context | None") -> Inspection:
    """Inspect a local file, or an object when there is a `context`.

    Raises `UserError` SOURCE_GONE, EMPTY_FILE, BAD_SOURCE.
    """
    wanted = cast("FileFormat | None", format_)
    if context is None:
        check_readable(Path(source))
        return inspect(Path(source), format=wanted)
    pinned = context.objects.pin(*source_of(context, None, source))
    return inspect(pinned, store=context.objects, limits=context.parse_limits(), format=wanted)


def import_command(source: str, found: Inspection, format_: str | None = None) -> str:
    """The `muster import` that keeps every column, quoted for a shell. `format_` was asked for, so it is said again."""
    spec = found.spec
    words = ["muster", "import", source, "--audience", "NAME"]
    if format_ is not None:
        words += ["--format", format_]
    if spec is not None:
        if spec.id_column != USER_ID:
            words += ["--id-column", spec.id_column]
        for column in spec.columns:
            words += ["--column", column_option(column)]
        if found.rejected:
            words += ["--max-reject-share", f"{min(found.rejected / found.rows + 0.00005, 1):.4f}"]
    return " ".join(map(shlex.quote, words))


def column_option(column: Column) -> str:
    """A column as `--column` takes it."""
    type_ = "" if column.type == "string" else f":{column.type}"
    source = "" if column.source is None else f"={column.source}"
    return f"{column.name}{type_}{source}"
