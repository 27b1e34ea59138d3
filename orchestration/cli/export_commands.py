"""`muster export`."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, get_args

import typer

from muster.records import Record
from orchestration.cli import export_options as shapes
from orchestration.cli import options, remote
from orchestration.cli.commands import Answer, Group, command
from orchestration.cli.console import print_line, print_note
from orchestration.cli.exits import code_for_job
from orchestration.cli.export_options import export_shape
from orchestration.cli.following import Followed, Submitted, print_skipped, show_started, submitted, wait_for
from orchestration.cli.formatting import counted, number, size
from orchestration.platform.deferred import deferred
from schemas.errors import MusterError, UserError
from schemas.export_shape import ExportShape
from schemas.ids import JobId
from schemas.manifest import ExportFormat, FileFormat

if TYPE_CHECKING:
    from schemas.manifest import Manifest

with deferred(__name__):
    from muster import following
    from orchestration.cli import downloads

TOP = Group("")
NULL: Final = "\\N"
ONE_FILE: Final = ".parquet"
ONE_FILE_MB: Final = 100_000
DOWNLOAD: Final = "download"
FILE_NAME: Final = re.compile(r".*\.(csv|tsv|jsonl?|ndjson|parquet)(\.(gz|zst))?", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A version, or the changes since an earlier one, as files with a manifest."""

    audience: str
    to: str
    manifest: "Manifest"

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {"to": self.to, **self.manifest.as_record()}


@dataclass(frozen=True, slots=True, kw_only=True)
class OneFile:
    """A version as one Parquet file."""

    file: Record

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return dict(self.file)


def _show_export(found: Submitted | Followed | Folder | OneFile) -> None:
    match found:
        case Folder():
            _show_folder(found)
        case OneFile():
            file = found.file
            print_line(
                f"version {file['version']} of {file['tenant']}/{file['audience']}: "
                f"{counted(file['rows'], 'member')}, {size(file['bytes'])} in {file['to']}"
            )
        case _:
            show_started(found)


def _show_folder(found: Folder) -> None:
    manifest = found.manifest
    if (selection := manifest.selection) is not None:
        print_skipped(selection.rows("filtered"), selection.rows("suppressed"))
    what = "" if manifest.delta is None else f" since version {manifest.delta.version}"
    print_line(
        f"version {manifest.version} of {found.audience}{what}: {counted(manifest.rows, 'row')} in "
        f"{counted(len(manifest.files), 'file')}, {size(sum(file.bytes for file in manifest.files))}, in {found.to}"
    )


@command(
    TOP,
    "export",
    "muster export vip --to vip.parquet",
    "muster export vip --to exports/vip --format csv --compression gzip",
    "muster export buyers --to s3://bucket/buyers-today --delta-from last --wait",
    "muster export vip --to s3://bucket/vip-3 --version 3 --wait",
    "muster export vip --to kafka://vip-members --wait",
    "muster export vip --to s3://bucket/vip-2-to-3 --version 3 --delta-from 2 --wait",
    "muster export vip --to s3://bucket/vip-today --delta-from last --wait",
    "muster export vip --to s3://theirs/from-us/vip-3 --profile partner --wait",
    "muster export vip --to exports/jp --where 'country = \"JP\" and age >= 20' --suppress unsubscribed",
    "muster export vip --to exports/vip --attributes profiles:plan,score@4 --partition-by plan",
    show=_show_export,
)
def export(
    *,
    name: shapes.ExportedName,
    to: Annotated[str, typer.Option("--to", metavar="FOLDER|FILE.parquet|s3://...|kafka://...", help="Destination.")],
    version: Annotated[
        int | None, typer.Option("--version", metavar="N", min=1, help="Version to export, instead of the current one.")
    ] = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", metavar="TIME", help="Export the version that was current then (UTC).")
    ] = None,
    delta_from: Annotated[
        str | None,
        typer.Option(
            "--delta-from",
            metavar="N|EXPORT|last",
            help="Export only what was added and removed since version N, or since an export.",
        ),
    ] = None,
    format_: Annotated[
        str, typer.Option("--format", metavar="|".join(get_args(FileFormat)), help="Format of the files.")
    ] = "parquet",
    compression: Annotated[
        str, typer.Option("--compression", metavar="none|gzip|zstd", help="Compression of CSV and JSON Lines.")
    ] = "none",
    null: Annotated[str, typer.Option("--null", metavar="TEXT", help='Text for "no value" in CSV.')] = NULL,
    formulas: Annotated[
        str,
        typer.Option(
            "--formulas", metavar="as-is|escape|refuse", help="How to write CSV texts that a spreadsheet would run."
        ),
    ] = "as-is",
    target_mb: Annotated[
        int, typer.Option("--target-mb", metavar="MB", min=1, help="Approximate size of a file.")
    ] = 256,
    profile: shapes.Profile = None,
    where: shapes.Where = None,
    attributes: shapes.Attributes = None,
    suppress: shapes.Suppress = None,
    columns: shapes.Columns = None,
    partition_by: shapes.PartitionBy = None,
    row_group_rows: shapes.RowGroupRows = None,
    allow_shrink: shapes.AllowShrink = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing FILE.parquet.")] = False,
    wait: options.Wait = False,
    timeout: options.Timeout = None,
    tenant: options.MeantTenant = None,
) -> Answer[Submitted | Followed | Folder | OneFile]:
    """Write a version of an audience or a segment as files with a manifest.

    The present members of a segment first become a version of the audience SEGMENT-snapshot, by a snapshot job.

    Files are sorted by user id, and checked against the digest of the version before the manifest is written;
    `muster verify` checks them again from the manifest alone. A FILE.parquet is written without a manifest.

    An export is a job (`muster jobs`). For a folder or FILE.parquet, this command waits for its end, fetches the files
    and compares them with the manifest. A topic receives the rows between markers.

    Members of the lists of `muster consent` are left out, whatever the options say.
    """
    if version is not None and as_of is not None:
        raise typer.BadParameter("give --version or --as-of, not both")
    shape = export_shape(where, attributes, suppress, columns, partition_by)
    format_of = shapes.export_format(format_, compression, null, formulas)
    one_file = to.endswith(ONE_FILE)
    chosen_otherwise = delta_from is not None or row_group_rows is not None or shape != ExportShape()
    if one_file and (format_of != ExportFormat(format="parquet") or chosen_otherwise or profile is not None):
        raise typer.BadParameter(
            "a single file is always a whole version in Parquet; for anything else, name a folder", param_hint="--to"
        )
    if not one_file and FILE_NAME.fullmatch(to):
        raise typer.BadParameter(
            f"{to!r} names a file, but an export is a folder of files with a manifest; name the folder, with --format "
            f"for its files, or write one Parquet file (FILE{ONE_FILE})",
            param_hint="--to",
        )
    if overwrite and not one_file:
        raise typer.BadParameter("an export with a manifest is never replaced", param_hint="--overwrite")
    by_job = "://" in to and not one_file
    if (wait or timeout is not None) and not by_job:
        raise typer.BadParameter(
            "only an export to s3://... or kafka://... is a job that can be waited for", param_hint="--wait"
        )
    try:
        _ = None if as_of is None else datetime.fromisoformat(as_of)
    except ValueError as exc:
        raise typer.BadParameter(f"{as_of!r} is not a time like 2026-11-25T09:00Z", param_hint="--as-of") from exc
    if not by_job and profile is not None:
        raise UserError("BAD_URI", f"profile {profile} is for s3://bucket/prefix, not for {to[:200]}", uri=to)
    if one_file and "://" in to:
        with remote.service() as found:
            meant = remote.resolve_tenant(found, tenant)
            begun = found.begin_file(meant, name, to, version=version, as_of=as_of, overwrite=overwrite)
            return Answer(value=OneFile(file=following.result(found, meant, begun)))
    if not by_job:
        downloads.require_free(to, one_file=one_file, overwrite=overwrite)
    wanted: dict[str, Any] = {
        "version": version,
        "as_of": as_of,
        "delta_from": int(delta_from) if delta_from is not None and delta_from.isdecimal() else delta_from,
        "format": format_,
        "compression": compression,
        "null": null,
        "formulas": formulas,
        "target_mb": ONE_FILE_MB if one_file else target_mb,
        "row_group_rows": row_group_rows,
        "profile": profile,
        "allow_shrink": allow_shrink or None,  # unknown to a service of 0.2.0
        **shape.as_record(),
    }
    with remote.service() as found:
        meant = remote.resolve_tenant(found, tenant)
        sent = to if by_job else DOWNLOAD
        export_id = JobId(found.start_export(meant, audience=name, to=sent, **wanted)["export"])
    if by_job:
        return submitted(export_id, wait=wait, timeout_s=timeout, word="export")
    ended = wait_for(export_id, word="export")
    if (error := ended.value.job["error"]) is not None:
        raise MusterError.from_record(error)
    if ended.value.job["state"] != "READY":
        return Answer(value=ended.value, code=code_for_job(ended.value.job))
    return Answer(value=_fetched(meant, export_id, to, one_file=one_file, overwrite=overwrite))


def _fetched(tenant: str, export_id: str, to: str, *, one_file: bool, overwrite: bool) -> Folder | OneFile:
    with remote.service() as found:
        if one_file:
            return OneFile(file=downloads.fetch_file(found, tenant, export_id, to, overwrite=overwrite))
        manifest = downloads.fetch_folder(found, tenant, export_id, to)
    if manifest.formulas_found:
        print_note(
            f"{number(manifest.formulas_found)} texts begin like spreadsheet formulas; they are written "
            + ("escaped." if manifest.format.formulas == "escape" else "as they are (--formulas escape|refuse).")
        )
    return Folder(audience=f"{manifest.tenant}/{manifest.audience}", to=to, manifest=manifest)
