"""`muster import` and `muster inspect`."""

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from orchestration.cli import options
from orchestration.cli.console import print_json, print_line, print_pairs, print_table, say
from orchestration.cli.dry_runs import run_dry
from orchestration.cli.exits import ExitCode
from orchestration.cli.formatting import number, safe, size
from orchestration.cli.import_target import Audience, Kind, OnlyColumns, checked_kind, target_of
from orchestration.cli.options import command, with_import_settings
from orchestration.cli.session import SESSION, lake_context, stack_context

if TYPE_CHECKING:
    from connectors.sources.inspection import Inspection
    from orchestration.context import Context
    from orchestration.operations.inspection import Suggestion
    from schemas.ids import JobId

REGISTRATION_LOOK_S: Final = 5.0
"""Without --wait: how long the answer waits for the registration, to tell a duplicate or a refusal at once."""
INSPECT_FAULTS: Final = 10
TICK_S: Final = 0.25


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    command(
        app,
        "import",
        "muster import people.csv --audience vip --wait",
        "muster import s3://bucket/people.csv.gz --audience vip --mode append",
        "muster import people.csv --audience vip --id-column email --column age:long=Age",
        "muster import people.csv --audience vip --dry-run",
        "muster import vip-3.csv --audience copy --manifest manifest.json",
        "muster import orders.csv --kind events --column total:double --timezone Europe/Berlin",
    )(import_)
    command(app, "inspect", "muster inspect people.csv", "muster inspect orders.csv.gz --kind events --json")(inspect)


@with_import_settings
def import_(
    *,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A local file, or s3://bucket/key.")],
    audience: Audience = None,
    kind: Kind = "audience",
    only_columns: OnlyColumns = False,
    tenant: options.Tenant = "default",
    changes: dict[str, Any],
    manifest: Annotated[
        str | None,
        typer.Option("--manifest", metavar="MANIFEST", help="Read SOURCE as the export with this manifest wrote it."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Import an object that was imported before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Verify, count and quote; change nothing.")] = False,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Follow the job; the exit code tells its end.")] = False,
    timeout: options.Timeout = None,
    json: options.Json = False,
) -> None:
    """Import a file as the next version of an audience, or as events or changes of profiles.

    What is not said here is taken from the audience's configuration. An audience that does not exist is created.
    """
    del json
    target, changes = target_of(kind, audience, changes, only_columns=only_columns, manifest=manifest is not None)
    if dry_run and (wait or again):
        raise typer.BadParameter("--dry-run starts no job: --wait and --again have no meaning with it")
    context = lake_context() if dry_run else stack_context()
    if manifest is not None:
        from orchestration.operations.exports import written_as

        changes = {**written_as(context, manifest, source), **changes}
    if dry_run:
        raise typer.Exit(run_dry(context, source, tenant, target, changes))
    raise typer.Exit(_import(context, source, tenant, target, changes, again=again, wait=wait, timeout_s=timeout))


def _import(
    context: "Context",
    source: str,
    tenant: str,
    audience: str,
    overrides: dict[str, Any],
    *,
    again: bool,
    wait: bool,
    timeout_s: float | None,
) -> ExitCode:
    from orchestration.cli.following import wait_for
    from orchestration.operations.submit import submit_object

    if source.startswith("s3://"):
        job_id = submit_object(context, source, tenant=tenant, audience=audience, overrides=overrides, again=again)
    else:
        job_id = _upload(context, Path(source), tenant, audience, overrides, again=again)
    SESSION.job = job_id
    if wait:
        return wait_for(context, job_id, timeout_s=timeout_s)
    return _registered(context, job_id)


def _upload(
    context: "Context", path: Path, tenant: str, audience: str, overrides: dict[str, Any], *, again: bool
) -> "JobId":
    """Upload with progress; the id of the job."""
    from orchestration.cli.rendering import upload_line
    from orchestration.cli.screen import screen
    from orchestration.operations.submit import check_readable, submit_file

    check_readable(path)
    total, began, lock = path.stat().st_size, time.monotonic(), threading.Lock()
    sent, drawn = 0, 0.0

    with screen() as place:

        def count(piece: int) -> None:
            nonlocal sent, drawn
            with lock:
                sent += piece
                now = time.monotonic()
                if now - drawn >= TICK_S or sent >= total:
                    drawn = now
                    line = upload_line(sent, total, now - began)
                    place.show([line], line.strip())

        place.show([upload_line(0, total, 0.0)], f"upload {safe(path.name)}, {size(total)}")
        return submit_file(
            context, path, tenant=tenant, audience=audience, overrides=overrides, again=again, on_bytes=count
        )


def _registered(context: "Context", job_id: "JobId") -> ExitCode:
    """Without --wait: the job's id, and what can be told of it at once."""
    from orchestration.cli.exits import of_job
    from orchestration.cli.following import duplicate_text, result_record
    from orchestration.operations.follow import look
    from orchestration.platform.clock import now_ms

    deadline = time.monotonic() + REGISTRATION_LOOK_S
    while (view := look(context, job_id, now_ms())) is None and time.monotonic() < deadline:
        time.sleep(TICK_S)
    if SESSION.json:
        print_json({"job": job_id, "state": "SUBMITTED"} if view is None else result_record(context, view))
    else:
        print_line(job_id if view is None else view.job.job_id)
    if view is not None and view.duplicate_of is not None:
        say(duplicate_text(job_id, view.job))
    elif view is not None and view.job.error is not None:
        say(f"{view.job.error.code}: {safe(view.job.error.message)}")
        return of_job(view.job)
    else:
        say(f"Submitted. `muster jobs wait {job_id}` follows the job.")
    return ExitCode.OK


def inspect(
    *,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A local file, or s3://bucket/key.")],
    kind: Kind = "audience",
    format_: options.Format = None,
    json: options.Json = False,
) -> None:
    """Look into a file: columns, types, faults.

    Ends with the import that would fit.
    """
    del json
    from orchestration.operations.inspection import inspect_source

    context = lake_context() if source.startswith("s3://") else None
    found, suggested = inspect_source(source, kind=checked_kind(kind), format_=format_, context=context)
    if SESSION.json:
        print_json({**found.as_record(), "hints": list(suggested.hints), "import": suggested.command})
    else:
        _print_inspection(found, suggested)
    if found.fault is not None:
        raise typer.Exit(ExitCode.USER_ERROR)


def _print_inspection(found: "Inspection", suggested: "Suggestion") -> None:
    from connectors.verification.policy import describe

    packed = "" if found.compression in (None, "none") else f", {found.compression}"
    print_pairs(
        [
            ("file", f"{found.name}, {size(found.size)}"),
            ("format", f"{found.format or 'unknown'}{packed}{', ' + found.encoding if found.encoding else ''}"),
            ("rows", f"{number(found.rows)}, {number(found.rejected)} of them would be rejects"),
        ]
    )
    if found.columns:
        print_line("")
        print_table(
            ("COLUMN", "TYPE", "EMPTY", "EXAMPLES"),
            [
                (c.name, f"{c.type or 'not kept'}{' (id)' if c.is_id else ''}", number(c.nulls), ", ".join(c.examples))
                for c in found.columns
            ],
            right=("EMPTY",),
        )
    print_line("")
    for reject in found.rejects[:INSPECT_FAULTS]:
        print_line(safe(describe(reject)))
    if found.rejected > INSPECT_FAULTS:
        print_line(", ".join(f"{code} {number(n)}" for code, n in found.rejected_by_code.items()))
    for hint in suggested.hints:
        print_line(f"note: {safe(hint)}")
    if found.fault is not None:
        print_line(f"{found.fault.code}: {safe(found.fault.message)}", style="red")
    elif suggested.command is not None:
        print_line(suggested.command)
