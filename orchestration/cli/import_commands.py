"""`muster import` and `muster inspect`."""

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from orchestration.cli import options, remote
from orchestration.cli.commands import Answer, Group, command
from orchestration.cli.console import print_line, print_pairs, print_table
from orchestration.cli.dry_runs import DryRunView, run_dry, show_dry_run
from orchestration.cli.exits import ExitCode, code_for_job
from orchestration.cli.following import Followed, Submitted, duplicate_text, show_end, wait_for, with_receipt
from orchestration.cli.formatting import number, safe, size
from orchestration.cli.import_target import Audience, Kind, OnlyColumns, checked_kind, target_of
from orchestration.cli.options import with_import_settings
from orchestration.cli.rendering import local_line
from orchestration.cli.screen import screen
from orchestration.cli.session import SESSION, lake_context, stack_context
from orchestration.client.records import Record
from orchestration.platform.deferred import deferred

if TYPE_CHECKING:
    from connectors.sources.inspection import Inspection
    from orchestration.client.client import Client
    from orchestration.context import Context
    from orchestration.operations.inspection import Suggestion
    from schemas.ids import JobId

with deferred(__name__):
    from connectors.verification import policy
    from orchestration.client import errors
    from orchestration.operations import inspection, submit, wiring

TOP = Group("")
REGISTRATION_POLL_S: Final = 5.0
"""Without --wait: how long to wait for the registration, to report a duplicate or a refusal at once."""
INSPECT_FAULTS: Final = 10
TICK_S: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """An import that was started without waiting for its end, in its present state."""

    job: Followed
    job_id: str

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return self.job.as_record()


def _show_import(found: Submitted | Registered | Followed | DryRunView) -> None:
    match found:
        case DryRunView():
            show_dry_run(found)
        case Followed():
            show_end(found)
        case Registered():
            print_line(found.job_id)
        case Submitted():
            print_line(found.job_id)


@command(
    TOP,
    "import",
    "muster import people.csv --audience vip --wait",
    "muster import s3://bucket/people.csv.gz --audience vip --mode append",
    "muster import people.csv --audience vip --id-column email --column age:long=Age",
    "muster import people.csv --audience vip --dry-run",
    "muster import vip-3.csv --audience copy --manifest manifest.json",
    "muster import orders.csv --kind events --column total:double --timezone Europe/Berlin",
    effect="changes",
    acts=lambda given: not given["dry_run"],
    show=_show_import,
)
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
    again: Annotated[bool, typer.Option("--again", help="Import the object even if it was imported before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Verify, count and quote; change nothing.")] = False,
    wait: options.Wait = False,
    timeout: options.Timeout = None,
) -> Answer[Submitted | Registered | Followed | DryRunView]:
    """Import members, events or profile changes from a file.

    Members become the next version of the audience; a missing audience is created. Omitted options are taken from the
    settings of the audience.
    """
    target, changes = target_of(kind, audience, changes, only_columns=only_columns, manifest=manifest is not None)
    if dry_run and (wait or again):
        raise typer.BadParameter("--dry-run starts no job: --wait and --again do not apply")
    context = lake_context() if dry_run else stack_context()
    if manifest is not None:
        changes = {**wiring.received_exports(context).written_as(manifest, source), **changes}
    if dry_run:
        return run_dry(context, source, tenant, target, changes)
    job_id = _start(context, source, tenant, target, changes, again=again)
    SESSION.job = job_id
    return wait_for(job_id, timeout_s=timeout) if wait else _registered(job_id)


def _start(
    context: "Context", source: str, tenant: str, audience: str, overrides: dict[str, Any], *, again: bool
) -> "JobId":
    """Start the import of an object, or of a local file uploaded with progress; returns the id of its job."""
    if source.startswith("s3://"):
        return wiring.submission(context).submit_object(
            source, tenant=tenant, audience=audience, overrides=overrides, again=again
        )
    path = Path(source)
    submit.check_readable(path)
    total, began, lock = path.stat().st_size, time.monotonic(), threading.Lock()
    sent, drawn = 0, 0.0

    with screen() as display:

        def count(piece: int) -> None:
            nonlocal sent, drawn
            with lock:
                sent += piece
                now = time.monotonic()
                if now - drawn >= TICK_S or sent >= total:
                    drawn = now
                    line = local_line("upload", sent, total, now - began)
                    display.show([line], line.strip())

        display.show([local_line("upload", 0, total, 0.0)], f"upload {safe(path.name)}, {size(total)}")
        return wiring.submission(context).submit_file(
            path, tenant=tenant, audience=audience, overrides=overrides, again=again, on_bytes=count
        )


def _registered(job_id: "JobId") -> Answer[Submitted | Registered | Followed | DryRunView]:
    """Without --wait: the job's id, and what is known at once."""
    with remote.service() as found:
        job = _find(found, job_id)
        if job is None:
            return Answer(value=Submitted(job_id=job_id), notes=[_submitted_note(job_id)])
        value = Registered(job=with_receipt(found, job), job_id=job["job"])
    if job["duplicate_of"] is not None:
        return Answer(value=value, notes=[duplicate_text(job_id, job)])
    if (error := job["error"]) is not None:
        return Answer(value=value, notes=[f"{error['code']}: {safe(error['message'])}"], code=code_for_job(job))
    return Answer(value=value, notes=[_submitted_note(job_id)])


def _find(found: "Client", job_id: "JobId") -> Record | None:
    """The job if it is registered soon."""
    deadline = time.monotonic() + REGISTRATION_POLL_S
    while True:
        try:
            return found.job(None, job_id)
        except errors.ApiError as exc:
            if exc.code != "UNKNOWN_JOB":
                raise
        if time.monotonic() >= deadline:
            return None
        time.sleep(TICK_S)


def _submitted_note(job_id: "JobId") -> str:
    return f"Submitted. `muster jobs wait {job_id}` follows the job."


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """Findings about a file, and the import that fits it."""

    file: "Inspection"
    suggestion: "Suggestion"

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {**self.file.as_record(), "hints": list(self.suggestion.hints), "import": self.suggestion.command}


def _show_inspection(inspected: Inspected) -> None:
    found, suggested = inspected.file, inspected.suggestion
    packed = "" if found.compression in (None, "none") else f", {found.compression}"
    print_pairs(
        [
            ("file", f"{found.name}, {size(found.size)}"),
            ("format", f"{found.format or 'unknown'}{packed}{', ' + found.encoding if found.encoding else ''}"),
            ("rows", f"{number(found.rows)}, {number(found.rejected)} of them would be rejected"),
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
        print_line(safe(policy.describe(reject)))
    if found.rejected > INSPECT_FAULTS:
        print_line(", ".join(f"{code} {number(n)}" for code, n in found.rejected_by_code.items()))
    for hint in suggested.hints:
        print_line(f"note: {safe(hint)}")
    if found.fault is not None:
        print_line(f"{found.fault.code}: {safe(found.fault.message)}", style="red")
    elif suggested.command is not None:
        print_line(suggested.command)


@command(
    TOP,
    "inspect",
    "muster inspect people.csv",
    "muster inspect orders.csv.gz --kind events --json",
    effect="reads",
    show=_show_inspection,
)
def inspect(
    *,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A local file, or s3://bucket/key.")],
    kind: Kind = "audience",
    format_: options.Format = None,
) -> Answer[Inspected]:
    """Inspect a file: columns, types, faults.

    Ends with a suggested import command.
    """
    wanted = checked_kind(kind)
    if source.startswith("s3://"):
        context = lake_context()
        found, suggested = inspection.inspect_object(
            source,
            kind=wanted,
            format_=format_,
            limits=context.parse_limits(),
            store=context.objects,
            settings=context.settings,
        )
    else:
        found, suggested = inspection.inspect_file(source, kind=wanted, format_=format_)
    code = ExitCode.OK if found.fault is None else ExitCode.USER_ERROR
    return Answer(value=Inspected(file=found, suggestion=suggested), code=code)
