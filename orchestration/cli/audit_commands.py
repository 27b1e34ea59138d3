"""`muster audit`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestration.cli import options
from orchestration.cli.commands import Group, command
from orchestration.cli.console import print_note, print_table
from orchestration.cli.formatting import clock_time
from orchestration.cli.session import catalog_context
from orchestration.operations.audits import since_ms
from orchestration.platform.clock import iso, now_ms

if TYPE_CHECKING:
    from orchestration.catalog.audit import AuditEntry

TOP = Group("")
_FIELDS = ("actor", "action", "object", "arguments", "before", "after", "error")


def _records(entries: "Sequence[AuditEntry]") -> list[dict[str, Any]]:
    return [{"at": iso(e.at_ms), "job": e.job_id, **{f: getattr(e, f) for f in _FIELDS}} for e in entries]


def _show(entries: "Sequence[AuditEntry]") -> None:
    if not entries:
        print_note("No matching entries.")
        return
    print_table(
        ("AT (UTC)", "ACTOR", "ACTION", "OBJECT", "JOB", "WITH"),
        [
            (clock_time(e.at_ms), e.actor, e.action, e.object, e.job_id or "", _with(e.arguments, e.error))
            for e in entries
        ],
    )


def _with(arguments: Mapping[str, Any], error: str | None) -> str:
    given = ", ".join(f"{k}={v}" for k, v in arguments.items() if v not in (None, [], False, ""))
    return f"{given} refused: {error}".strip() if error else given


@command(
    TOP,
    "audit",
    "muster audit --audience vip --since 7d",
    "muster audit --job JOB --json",
    effect="reads",
    show=_show,
    record=_records,
)
def audit(
    *,
    job: Annotated[str | None, typer.Option("--job", metavar="JOB", help="Limit to this job.")] = None,
    audience: options.OnlyAudience = None,
    tenant: options.Tenant = "default",
    since: Annotated[
        str | None, typer.Option("--since", metavar="WHEN", help="Limit to newer entries: 12h, 7d, or a date in UTC.")
    ] = None,
    limit: options.NewestLimit = 100,
) -> "list[AuditEntry]":
    """Show who did what: users, and Muster itself."""
    return catalog_context().audit.search(
        object_=None if audience is None else f"{tenant}/{audience}",
        job_id=job,
        since_ms=0 if since is None else since_ms(since, now_ms()),
        limit=limit,
    )
