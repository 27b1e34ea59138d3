"""`muster export` and `muster verify`."""

import re
from typing import TYPE_CHECKING, Annotated, Final

import typer

from orchestration.cli import export_options as shapes
from orchestration.cli import options
from orchestration.cli.console import print_json, print_line, say
from orchestration.cli.exits import ExitCode
from orchestration.cli.export_following import say_left_out, wait_for_export
from orchestration.cli.export_options import export_request
from orchestration.cli.formatting import number, safe, size
from orchestration.cli.options import command
from orchestration.cli.screen import screen
from orchestration.cli.session import SESSION, lake_context, receiver_context, stack_context

if TYPE_CHECKING:
    from orchestration.context import Context
    from orchestration.kinds.export.request import ExportRequest

NULL: Final = "\\N"
ONE_FILE: Final = ".parquet"
FILE_NAME: Final = re.compile(r".*\.(csv|tsv|jsonl?|ndjson|parquet)(\.(gz|zst))?", re.IGNORECASE | re.DOTALL)
PROFILE: Final = typer.Option("--profile", metavar="NAME", help="Whose credentials, in destinations.toml.")


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    command(
        app,
        "export",
        "muster export vip --to vip.parquet",
        "muster export vip --to exports/vip --format csv --compression gzip",
        "muster export vip --to s3://bucket/vip-3 --version 3 --wait",
        "muster export vip --to kafka://vip-members --wait",
        "muster export vip --to s3://bucket/vip-2-to-3 --version 3 --delta-from 2 --wait",
        "muster export vip --to s3://theirs/from-us/vip-3 --profile partner --wait",
        "muster export vip --to exports/jp --where 'country = \"JP\" and age >= 20' --suppress unsubscribed",
        "muster export vip --to exports/vip --attributes profiles:plan,score@4 --partition-by plan",
    )(export)
    command(app, "verify", "muster verify exports/vip/manifest.json", "muster verify s3://bucket/vip-3/manifest.json")(
        verify
    )


def export(
    *,
    name: options.AudienceArgument,
    to: Annotated[str, typer.Option("--to", metavar="FOLDER|FILE.parquet|s3://...|kafka://...", help="Where it goes.")],
    version: Annotated[
        int | None, typer.Option("--version", metavar="N", min=1, help="Instead of the current.")
    ] = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", metavar="TIME", help="The version that was current then (UTC).")
    ] = None,
    delta_from: Annotated[
        int | None, typer.Option("--delta-from", metavar="N", min=1, help="Only what was added and removed since.")
    ] = None,
    format_: Annotated[str, typer.Option("--format", metavar="parquet|csv|jsonl", help="Format.")] = "parquet",
    compression: Annotated[
        str, typer.Option("--compression", metavar="none|gzip|zstd", help="Of CSV and JSON Lines.")
    ] = "none",
    null: Annotated[str, typer.Option("--null", metavar="TEXT", help='What stands for "no value" in CSV.')] = NULL,
    formulas: Annotated[
        str,
        typer.Option("--formulas", metavar="as-is|escape|refuse", help="Texts in CSV that a spreadsheet would run."),
    ] = "as-is",
    target_mb: Annotated[int, typer.Option("--target-mb", metavar="MB", min=1, help="Size of a file, about.")] = 256,
    profile: Annotated[str | None, PROFILE] = None,
    where: shapes.Where = None,
    attributes: shapes.Attributes = None,
    suppress: shapes.Suppress = None,
    columns: shapes.Columns = None,
    partition_by: shapes.PartitionBy = None,
    row_group_rows: shapes.RowGroupRows = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE.parquet.")] = False,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Follow the job; the exit code tells its end.")] = False,
    timeout: options.Timeout = None,
    tenant: options.Tenant = "default",
    json: options.Json = False,
) -> None:
    """Write a version of an audience as files with a manifest.

    Sorted by user id, and checked against the digest of the version before the manifest is written; `muster verify`
    checks it again from the manifest alone. A FILE.parquet is written alone, without a manifest.

    A folder and a FILE.parquet are written by this command. An export to s3://... or kafka://TOPIC is a job
    (`muster exports`); a topic is sent the rows between markers.
    """
    del json
    if version is not None and as_of is not None:
        raise typer.BadParameter("give --version or --as-of, not both")
    from schemas.errors import UserError
    from schemas.export_shape import ExportShape
    from schemas.manifest import ExportFormat

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
        raise typer.BadParameter("a single file is a whole version in Parquet; name a folder", param_hint="--to")
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
        raise typer.Exit(_submit(request, wait=wait, timeout_s=timeout))
    context = lake_context()
    if one_file:
        _one_file(context, request, overwrite=overwrite)
    else:
        _folder(context, request)


def _submit(request: "ExportRequest", *, wait: bool, timeout_s: float | None) -> ExitCode:
    from orchestration.operations.export_jobs import submit

    context = stack_context()
    export_id = SESSION.job = submit(context, request)
    if wait:
        return wait_for_export(context, export_id, timeout_s=timeout_s)
    if SESSION.json:
        print_json({"export": export_id, "state": "SUBMITTED"})
    else:
        print_line(export_id)
        say(f"Submitted. `muster exports wait {export_id}` follows the export.")
    return ExitCode.OK


def _folder(context: "Context", request: "ExportRequest") -> None:
    from orchestration.operations.audiences import find
    from orchestration.operations.exports import export_audience

    audience = find(context, request.tenant, request.audience)
    with screen() as place:

        def show(rows: int) -> None:
            line = f"{number(rows)} rows written"
            place.show([line], line)

        manifest = export_audience(context, audience, request, on_rows=show)
    if manifest.formulas_found:
        say(
            f"{number(manifest.formulas_found)} texts begin like a formula of a spreadsheet; they are written "
            + ("escaped." if request.format.formulas == "escape" else "as they are (--formulas escape|refuse).")
        )
    if SESSION.json:
        print_json({"to": request.to, **manifest.as_record()})
        return
    if (taken := manifest.selection) is not None:
        say_left_out(taken.rows("filtered"), taken.rows("suppressed"))
    what = "" if manifest.delta is None else f" since version {manifest.delta.version}"
    print_line(
        f"version {manifest.version} of {audience.tenant}/{audience.name}{what}: {number(manifest.rows)} rows in "
        f"{len(manifest.files)} files, {size(sum(file.bytes for file in manifest.files))}, in {request.to}"
    )


def _one_file(context: "Context", request: "ExportRequest", *, overwrite: bool) -> None:
    from orchestration.kinds.export.versions import resolve_version
    from orchestration.operations import reading
    from orchestration.operations.audiences import find

    audience = find(context, request.tenant, request.audience)
    version = resolve_version(context.versions, audience, version=request.version, as_of=request.moment)
    info, done = reading.export(context, audience, version=version, destination=request.to, overwrite=overwrite)
    if SESSION.json:
        print_json(
            {
                "audience": audience.name,
                "tenant": audience.tenant,
                "version": info.version,
                "to": done.uri,
                "rows": done.rows,
                "bytes": done.bytes,
                "sha256": done.sha256,
                "digest": str(done.digest),
            }
        )
    else:
        print_line(
            f"version {info.version} of {audience.tenant}/{audience.name}: {number(done.rows)} members, "
            f"{size(done.bytes)} in {done.uri}"
        )


def verify(
    *,
    manifest: Annotated[str, typer.Argument(metavar="MANIFEST", help="Path, or s3://bucket/key.")],
    profile: Annotated[str | None, PROFILE] = None,
    json: options.Json = False,
) -> None:
    """Check an export from its manifest alone, and name the first difference.

    Sizes, hashes, rows and digests of all files are computed anew. Exit code 7 when something differs.
    """
    del json
    from orchestration.operations.exports import verify_export

    found, difference = verify_export(
        receiver_context(manifest), manifest, profile=profile, on_rows=lambda rows: say(f"{number(rows)} rows verified")
    )
    if SESSION.json:
        record = {
            "manifest": manifest,
            "rows": found.rows,
            "digest": str(found.digest),
            "difference": None
            if difference is None
            else {
                "key": difference.key,
                "what": difference.what,
                "expected": str(difference.expected),
                "found": str(difference.found),
            },
        }
        print_json(record)
    elif difference is None:
        print_line(
            f"version {found.version} of {safe(found.tenant)}/{safe(found.audience)}: {number(found.rows)} rows in "
            f"{len(found.files)} files, every number agrees"
        )
        if found.selection is not None:
            say_left_out(found.selection.rows("filtered"), found.selection.rows("suppressed"))
    else:
        print_line(f"DIFFERENT: {safe(str(difference))}")
    if difference is not None:
        raise typer.Exit(ExitCode.CHECK_FAILED)
