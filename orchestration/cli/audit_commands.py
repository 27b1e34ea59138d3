"""`muster audit`."""

from typing import Annotated

import typer

from orchestration.cli import options
from orchestration.cli.console import print_json, print_table, say
from orchestration.cli.options import command
from orchestration.cli.session import SESSION, catalog_context


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "audit", "muster audit --audience vip --since 7d", "muster audit --job JOB --json")(audit)


def audit(
    *,
    job: Annotated[str | None, typer.Option("--job", metavar="JOB", help="Only of this job.")] = None,
    audience: Annotated[str | None, typer.Option("--audience", "-a", metavar="NAME", help="Only of this one.")] = None,
    tenant: options.Tenant = "default",
    since: Annotated[
        str | None, typer.Option("--since", metavar="WHEN", help="Not older: 12h, 7d, or a date in UTC.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, the newest.")] = 100,
    json: options.Json = False,
) -> None:
    """Show who did what: people, and Muster by itself."""
    del json
    from orchestration.cli.formatting import clock_time
    from orchestration.operations.audits import since_ms
    from orchestration.platform.clock import iso, now_ms

    found = catalog_context().audit.search(
        object_=None if audience is None else f"{tenant}/{audience}",
        job_id=job,
        since_ms=0 if since is None else since_ms(since, now_ms()),
        limit=limit,
    )
    if SESSION.json:
        fields = ("actor", "action", "object", "arguments", "before", "after", "error")
        print_json([{"at": iso(e.at_ms), "job": e.job_id, **{f: getattr(e, f) for f in fields}} for e in found])
        return
    if not found:
        say("There are no such entries.")
        return
    print_table(
        ("AT (UTC)", "ACTOR", "ACTION", "OBJECT", "JOB", "WITH"),
        [
            (clock_time(e.at_ms), e.actor, e.action, e.object, e.job_id or "", _with(e.arguments, e.error))
            for e in found
        ],
    )


def _with(arguments: object, error: str | None) -> str:
    given = ", ".join(f"{k}={v}" for k, v in dict(arguments).items() if v not in (None, [], False, ""))  # type: ignore[call-overload]
    return f"{given} refused: {error}".strip() if error else given
