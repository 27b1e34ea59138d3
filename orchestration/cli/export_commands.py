"""`muster export` and `muster verify`."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from orchestration.cli import export_options as shapes
from orchestration.cli import options
from orchestration.cli.commands import Answer, Group, command
from orchestration.cli.console import print_line, print_note
from orchestration.cli.exits import ExitCode
from orchestration.cli.export_options import export_request
from orchestration.cli.following import Followed, Submitted, print_skipped, show_started, submitted
from orchestration.cli.formatting import number, safe, size
from orchestration.cli.screen import screen
from orchestration.cli.session import lake_context, receiver_context, stack_context
from orchestration.platform.deferred import deferred
from schemas.errors import UserError
from schemas.export_shape import ExportShape
from schemas.manifest import ExportFormat

if TYPE_CHECKING:
    from connectors.sinks.checking import Difference
    from connectors.sinks.parquet_export import ExportedFile
    from orchestration.context import Context
    from orchestration.kinds.export.request import ExportRequest
    from schemas.manifest import Manifest
    from segmentation.versions import VersionInfo

with deferred(__name__):
    from orchestration.kinds.export import versions
    from orchestration.operations import audiences, queries, wiring

TOP = Group("")
NULL: Final = "\\N"
ONE_FILE: Final = ".parquet"
FILE_NAME: Final = re.compile(r".*\.(csv|tsv|jsonl?|ndjson|parquet)(\.(gz|zst))?", re.IGNORECASE | re.DOTALL)
PROFILE: Final = typer.Option(
    "--profile", metavar="NAME", help="Profile in destinations.toml whose credentials are used."
)


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

    tenant: str
    audience: str
    version: "VersionInfo"
    file: "ExportedFile"

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "audience": self.audience,
            "tenant": self.tenant,
            "version": self.version.version,
            "to": self.file.uri,
            "rows": self.file.rows,
            "bytes": self.file.bytes,
            "sha256": self.file.sha256,
            "digest": str(self.file.digest),
        }


def _show_export(found: Submitted | Followed | Folder | OneFile) -> None:
    match found:
        case Folder():
            _show_folder(found)
        case OneFile():
            print_line(
                f"version {found.version.version} of {found.tenant}/{found.audience}: {number(found.file.rows)} "
                f"members, {size(found.file.bytes)} in {found.file.uri}"
            )
        case _:
            show_started(found)


def _show_folder(found: Folder) -> None:
    manifest = found.manifest
    if (selection := manifest.selection) is not None:
        print_skipped(selection.rows("filtered"), selection.rows("suppressed"))
    what = "" if manifest.delta is None else f" since version {manifest.delta.version}"
    print_line(
        f"version {manifest.version} of {found.audience}{what}: {number(manifest.rows)} rows in "
        f"{len(manifest.files)} files, {size(sum(file.bytes for file in manifest.files))}, in {found.to}"
    )


@command(
    TOP,
    "export",
    "muster export vip --to vip.parquet",
    "muster export vip --to exports/vip --format csv --compression gzip",
    "muster export vip --to s3://bucket/vip-3 --version 3 --wait",
    "muster export vip --to kafka://vip-members --wait",
    "muster export vip --to s3://bucket/vip-2-to-3 --version 3 --delta-from 2 --wait",
    "muster export vip --to s3://theirs/from-us/vip-3 --profile partner --wait",
    "muster export vip --to exports/jp --where 'country = \"JP\" and age >= 20' --suppress unsubscribed",
    "muster export vip --to exports/vip --attributes profiles:plan,score@4 --partition-by plan",
    effect="changes",
    show=_show_export,
)
def export(
    *,
    name: options.AudienceArgument,
    to: Annotated[str, typer.Option("--to", metavar="FOLDER|FILE.parquet|s3://...|kafka://...", help="Destination.")],
    version: Annotated[
        int | None, typer.Option("--version", metavar="N", min=1, help="Version to export, instead of the current one.")
    ] = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", metavar="TIME", help="Export the version that was current then (UTC).")
    ] = None,
    delta_from: Annotated[
        int | None,
        typer.Option(
            "--delta-from", metavar="N", min=1, help="Export only what was added and removed since version N."
        ),
    ] = None,
    format_: Annotated[
        str, typer.Option("--format", metavar="parquet|csv|jsonl", help="Format of the files.")
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
    profile: Annotated[str | None, PROFILE] = None,
    where: shapes.Where = None,
    attributes: shapes.Attributes = None,
    suppress: shapes.Suppress = None,
    columns: shapes.Columns = None,
    partition_by: shapes.PartitionBy = None,
    row_group_rows: shapes.RowGroupRows = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing FILE.parquet.")] = False,
    wait: options.Wait = False,
    timeout: options.Timeout = None,
    tenant: options.Tenant = "default",
) -> Answer[Submitted | Followed | Folder | OneFile]:
    """Write a version of an audience as files with a manifest.

    Files are sorted by user id, and checked against the digest of the version before the manifest is written;
    `muster verify` checks them again from the manifest alone. A FILE.parquet is written without a manifest.

    This command writes folders and FILE.parquet itself. An export to s3://... or kafka://TOPIC is a job
    (`muster jobs`); a topic receives the rows between markers.
    """
    if version is not None and as_of is not None:
        raise typer.BadParameter("give --version or --as-of, not both")
    request = export_request(
        audience=name,
        to=to,
        tenant=tenant,
        version=version,
        as_of=as_of,
        delta_from=delta_from,
        format_=format_,
        compression=compression,
        null=null,
        formulas=formulas,
        target_mb=target_mb,
        profile=profile,
        where=where,
        attributes=attributes,
        suppress=suppress,
        columns=columns,
        partition_by=partition_by,
        row_group_rows=row_group_rows,
    )
    one_file = to.endswith(ONE_FILE)
    chosen_otherwise = delta_from is not None or row_group_rows is not None or request.shape != ExportShape()
    if one_file and (request.format != ExportFormat(format="parquet") or chosen_otherwise or profile is not None):
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
        _ = request.moment
    except UserError as exc:
        raise typer.BadParameter(exc.message, param_hint="--as-of") from exc
    if by_job:
        context = stack_context()
        job_id = wiring.export_jobs(context).submit(request)
        return submitted(job_id, wait=wait, timeout_s=timeout, word="export")
    context = lake_context()
    return Answer(value=_one_file(context, request, overwrite=overwrite) if one_file else _folder(context, request))


def _folder(context: "Context", request: "ExportRequest") -> Folder:
    audience = audiences.find(context.audiences, request.tenant, request.audience)
    with screen() as display:

        def show(rows: int) -> None:
            line = f"{number(rows)} rows written"
            display.show([line], line)

        manifest = wiring.local_exports(context).run(audience, request, on_rows=show)
    if manifest.formulas_found:
        print_note(
            f"{number(manifest.formulas_found)} texts begin like spreadsheet formulas; they are written "
            + ("escaped." if request.format.formulas == "escape" else "as they are (--formulas escape|refuse).")
        )
    return Folder(audience=f"{audience.tenant}/{audience.name}", to=request.to, manifest=manifest)


def _one_file(context: "Context", request: "ExportRequest", *, overwrite: bool) -> OneFile:
    audience = audiences.find(context.audiences, request.tenant, request.audience)
    version = versions.resolve_version(context.versions, audience, version=request.version, as_of=request.moment)
    info, done = queries.export(
        audience,
        version=version,
        destination=request.to,
        overwrite=overwrite,
        limits=context.duck_limits,
        s3=context.s3,
        settings=context.settings,
        versions=context.versions,
    )
    return OneFile(tenant=audience.tenant, audience=audience.name, version=info, file=done)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """An export that was checked against its manifest at `address`, and the first difference, if any."""

    address: str
    manifest: "Manifest"
    difference: "Difference | None"

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        different = self.difference
        return {
            "manifest": self.address,
            "rows": self.manifest.rows,
            "digest": str(self.manifest.digest),
            "difference": None
            if different is None
            else {
                "key": different.key,
                "what": different.what,
                "expected": str(different.expected),
                "found": str(different.found),
            },
        }


def _show_verified(verified: Verified) -> None:
    if verified.difference is not None:
        print_line(f"DIFFERENT: {safe(str(verified.difference))}")
        return
    found = verified.manifest
    print_line(
        f"version {found.version} of {safe(found.tenant)}/{safe(found.audience)}: {number(found.rows)} rows in "
        f"{len(found.files)} files, all numbers match"
    )
    if found.selection is not None:
        print_skipped(found.selection.rows("filtered"), found.selection.rows("suppressed"))


@command(
    TOP,
    "verify",
    "muster verify exports/vip/manifest.json",
    "muster verify s3://bucket/vip-3/manifest.json",
    effect="reads",
    show=_show_verified,
)
def verify(
    *,
    manifest: Annotated[str, typer.Argument(metavar="MANIFEST", help="Path or s3://bucket/key of the manifest.")],
    profile: Annotated[str | None, PROFILE] = None,
) -> Answer[Verified]:
    """Verify an export from its manifest alone.

    Recomputes sizes, hashes, rows and digests of all files, and reports the first difference. Exit code 7 if anything
    differs.
    """
    received = wiring.received_exports(receiver_context(manifest))
    found, difference = received.verify(
        manifest, profile=profile, on_rows=lambda rows: print_note(f"{number(rows)} rows verified")
    )
    return Answer(
        value=Verified(address=manifest, manifest=found, difference=difference),
        code=ExitCode.OK if difference is None else ExitCode.CHECK_FAILED,
    )
