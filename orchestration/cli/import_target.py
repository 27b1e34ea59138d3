"""The target of an import, from the options of `muster import` and `muster schedules create import`."""

from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer

from schemas import reading_back
from schemas.columns import ImportKind
from schemas.errors import UserError
from schemas.import_targets import RESERVED, activity_spec, kind_of_target
from schemas.manifest import MAX_MANIFEST_BYTES, Manifest

Audience = Annotated[str | None, typer.Option("--audience", "-a", metavar="NAME", help="Audience to import into.")]
Kind = Annotated[
    str, typer.Option("--kind", metavar="audience|events|profiles", help="Kind of rows in the file [audience].")
]
OnlyColumns = Annotated[
    bool, typer.Option("--only-columns", help="For events and profiles: keep only the columns of --column.")
]


def checked_kind(kind: str) -> ImportKind:
    """Raises `typer.BadParameter` for an unknown kind."""
    if kind not in get_args(ImportKind):
        raise typer.BadParameter(f"{kind} is not one of {', '.join(get_args(ImportKind))}", param_hint="--kind")
    return cast("ImportKind", kind)


def written_by(manifest: Path, source: str) -> dict[str, Any]:
    """Changes to the spec with which a file is read as the export with this manifest wrote it.

    Raises `UserError` NO_MANIFEST, BAD_MANIFEST, NOT_IN_MANIFEST, ESCAPED_EXPORT.
    """
    try:
        content = manifest.read_bytes() if manifest.is_file() else None
    except OSError as exc:
        message = f"manifest {manifest} cannot be read: {exc.strerror}"
        raise UserError("NO_MANIFEST", message, manifest=str(manifest)) from exc
    if content is None:
        raise UserError("NO_MANIFEST", f"manifest {manifest} does not exist", manifest=str(manifest))
    if len(content) > MAX_MANIFEST_BYTES:
        raise UserError("BAD_MANIFEST", f"{manifest} has more than {MAX_MANIFEST_BYTES} bytes, more than any manifest")
    return reading_back.written_as(Manifest.parse(content), str(manifest), source)


def target_of(
    kind: str, audience: str | None, changes: dict[str, Any], *, only_columns: bool, manifest: bool = False
) -> tuple[str, dict[str, Any]]:
    """The audience or reserved name that the rows go to, and the changes to the spec. `manifest`: one was given.

    Raises `typer.BadParameter` for contradictory options; `UserError` BAD_SPEC, BAD_COLUMN.
    """
    activity = checked_kind(kind)
    if activity == "audience":
        if only_columns:
            raise typer.BadParameter(
                "only for events and profiles; an audience never keeps other columns", param_hint="--only-columns"
            )
        if audience is None:
            raise typer.BadParameter(
                "name the audience, or use --kind events or --kind profiles", param_hint="--audience"
            )
        if kind_of_target(audience) != "audience":
            raise typer.BadParameter(f"{audience} is not an audience; use --kind", param_hint="--audience")
        return audience, changes
    if audience is not None or manifest or "max_shrink_percent" in changes:
        raise typer.BadParameter(
            f"with --kind {kind}, --audience, --manifest (of an export of members), --max-shrink and --allow-shrink "
            "do not apply"
        )
    if "drop_columns" in changes:
        raise typer.BadParameter(
            f"an import of {kind} never drops a column; `muster audiences configure _{kind}` forgets its type",
            param_hint="--drop-column",
        )
    if only_columns:
        changes = {**changes, "other_columns": False}
    activity_spec(activity, changes)
    return RESERVED[activity], changes
