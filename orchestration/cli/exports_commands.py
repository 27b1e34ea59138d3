"""`muster exports`: jobs that export."""

from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli import options
from orchestration.cli.console import print_json, print_line, print_pairs, print_table, say
from orchestration.cli.export_following import wait_for_export
from orchestration.cli.formatting import age, clock_time, number, size
from orchestration.cli.notification_commands import print_notifications
from orchestration.cli.options import command, group
from orchestration.cli.session import SESSION, catalog_context, stack_context
from schemas.errors import UserError
from schemas.ids import job_id

if TYPE_CHECKING:
    from orchestration.catalog.records import Export

exports = group(
    "exports", "Export jobs: list, show, wait for, cancel, retry.", "muster exports list", "muster exports show EXPORT"
)
ExportArgument = Annotated[str, typer.Argument(metavar="EXPORT", help="Export id, as `muster exports list` shows it.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.add_typer(exports)


@command(exports, "list", "muster exports list --state FAILED", "muster exports list --audience vip --limit 5 --json")
def list_(
    *,
    tenant: Annotated[str | None, typer.Option("--tenant", "-t", metavar="TENANT", help="Only of this tenant.")] = None,
    audience: Annotated[str | None, typer.Option("--audience", "-a", metavar="NAME", help="Only of this one.")] = None,
    state: Annotated[list[str] | None, typer.Option("--state", metavar="STATE", help="Only in this state.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, the newest.")] = 20,
    json: options.Json = False,
) -> None:
    """List exports, the newest first."""
    del json
    from typing import cast

    from orchestration.operations.export_jobs import export_record
    from orchestration.platform.clock import now_ms
    from segmentation.export_jobs import EXPORT_STATES, ExportState

    if unknown := [s for s in state or () if s.upper() not in EXPORT_STATES]:
        raise UserError(
            "UNKNOWN_STATE", f"no export is ever {unknown[0]!r}; states are {', '.join(sorted(EXPORT_STATES))}"
        )
    wanted = [cast("ExportState", s.upper()) for s in state or ()]
    found = catalog_context().exports.search(tenant=tenant, audience=audience, states=wanted, limit=limit)
    if SESSION.json:
        print_json([export_record(export) for export in found])
        return
    if not found:
        say("There are no such exports.")
        return
    now = now_ms()
    print_table(
        ("EXPORT", "AGE", "STATE", "AUDIENCE", "RESULT", "TO"),
        [
            (
                e.job_id,
                age(e.created_at_ms, now),
                e.state,
                f"{e.tenant}/{e.audience}",
                _result(e),
                e.request.get("to", ""),
            )
            for e in found
        ],
        right=("AGE",),
    )


@command(exports, "show", "muster exports show EXPORT", "muster exports show EXPORT --json")
def show(*, export: ExportArgument, json: options.Json = False) -> None:
    """Show an export: history, groups, cause."""
    del json
    from orchestration.operations.export_jobs import export_record
    from orchestration.operations.notifying import notification_record

    context = catalog_context()
    found = context.exports.get(job_id(export))
    history = context.exports.history(found.job_id)
    groups = context.exports.groups(found.job_id)
    told = context.outbox.of(found.job_id)
    if SESSION.json:
        record = export_record(found)
        record["history"] = [{"state": t.state, "cause": t.cause, "at_ms": t.at_ms} for t in history]
        record["groups"] = [
            {
                "number": g.number,
                "attempt": g.attempt,
                "rows": g.rows,
                "expected_rows": g.expected_rows,
                "written": g.record is not None,
                "error": None if g.error is None else g.error.as_record(),
            }
            for g in groups
        ]
        print_json({**record, "notifications": [notification_record(row) for row in told]})
        return
    pairs: list[tuple[str, object]] = [
        ("export", found.job_id),
        ("audience", f"{found.tenant}/{found.audience}"),
        ("state", found.state),
        ("to", found.request.get("to", "")),
        ("result", _result(found) or "-"),
    ]
    if found.outcome is not None and found.outcome["manifest"]:
        pairs.append(("manifest", found.outcome["manifest"]))
    if found.error is not None:
        pairs.append(("error", f"{found.error.code}: {found.error.message}"))
    if found.retry_of is not None:
        pairs.append(("retry of", found.retry_of))
    print_pairs(pairs)
    print_line("")
    print_table(("AT (UTC)", "STATE", "CAUSE"), [(clock_time(t.at_ms), t.state, t.cause or "") for t in history])
    if groups:
        print_line("")
        print_table(
            ("GROUP", "ATTEMPT", "ROWS", "OF", "STATE"),
            [
                (
                    g.number,
                    g.attempt or "",
                    number(g.rows),
                    number(g.expected_rows),
                    "written" if g.record is not None else g.error.code if g.error is not None else "",
                )
                for g in groups
            ],
            right=("GROUP", "ATTEMPT", "ROWS", "OF"),
        )
    print_notifications(told)


@command(exports, "wait", "muster exports wait EXPORT", "muster exports wait EXPORT --timeout 600 --json")
def wait(*, export: ExportArgument, timeout: options.Timeout = None, json: options.Json = False) -> None:
    """Follow an export until it has ended.

    The exit code tells how it ended.
    """
    del json
    raise typer.Exit(wait_for_export(catalog_context(), job_id(export), timeout_s=timeout))


@command(exports, "cancel", "muster exports cancel EXPORT")
def cancel(*, export: ExportArgument, json: options.Json = False) -> None:
    """Cancel an export, so that it gets no manifest.

    Possible until its manifest is being written. Its files are removed. An export that was just submitted is waited for
    until it is registered.
    """
    del json
    from orchestration.operations.export_jobs import await_registration, export_record
    from orchestration.operations.export_jobs import cancel as cancel_export

    context, wanted = catalog_context(), job_id(export)
    await_registration(context, wanted)
    done = cancel_export(context, wanted)
    if SESSION.json:
        print_json({**export_record(done.export), "already": done.already, "warnings": done.warnings})
    else:
        print_line(f"export {done.export.job_id} {'was cancelled before' if done.already else 'is CANCELLED'}")
    for warning in done.warnings:
        say(warning)


@command(exports, "retry", "muster exports retry EXPORT --wait")
def retry(
    *,
    export: ExportArgument,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Follow the new export.")] = False,
    timeout: options.Timeout = None,
    json: options.Json = False,
) -> None:
    """Run a FAILED or CANCELLED export again.

    A new export of the same version to the same place.
    """
    del json
    from orchestration.operations.export_jobs import retry as retry_export

    context = stack_context()
    new = SESSION.job = retry_export(context, job_id(export))
    if wait:
        raise typer.Exit(wait_for_export(context, new, timeout_s=timeout))
    if SESSION.json:
        print_json({"export": new, "state": "SUBMITTED", "retry_of": export})
    else:
        print_line(new)
        say(f"Submitted. `muster exports wait {new}` follows the export.")


def _result(export: "Export") -> str:
    if export.error is not None:
        return export.error.code
    if export.outcome is None:
        return ""
    outcome = export.outcome
    return f"v{outcome['version']}, {number(outcome['rows'])} rows, {size(outcome['bytes'])}"
