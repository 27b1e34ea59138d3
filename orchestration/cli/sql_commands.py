"""`muster sql`."""

import sys
from typing import Annotated, Final

import typer

from orchestration.cli import options, remote
from orchestration.cli.commands import Group, command
from orchestration.cli.console import out
from orchestration.cli.session import SESSION
from orchestration.cli.sql_rows import Queried, queried, show_queried
from orchestration.platform.deferred import deferred

with deferred(__name__):
    from orchestration.cli import sql_prompt

TOP = Group("")
SQL_MAX_S: Final = 3600.0


@command(
    TOP,
    "sql",
    "muster sql \"select count(*) from audience('vip')\"",
    "muster sql \"select count(*) from events('purchase', since => '7d') join audience('vip') using (user_id)\"",
    "muster sql \"select code, count(*) from rejects('JOB') group by code\" --json",
    "muster sql",
    show=show_queried,
)
def sql(
    *,
    query: Annotated[
        str | None, typer.Argument(metavar="[QUERY]", help="One SELECT; - reads it from stdin; without it, a prompt.")
    ] = None,
    tenant: options.MeantTenant = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Show at most this many rows on a terminal.")] = 100,
    csv_: Annotated[bool, typer.Option("--csv", help="Print all rows as CSV.")] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0.1, max=SQL_MAX_S, help="Time limit of the query.")
    ] = SQL_MAX_S,
) -> Queried | None:
    """Query audiences, segments, events, profiles and rejects.

    Read them as audience('name'[, version => N][, tenant => 'T']), segment('name'), events(['name'][, since => '30d']
    [, until => TIME]), profiles() and rejects('job'). Segments, events and profiles take a tenant, too.

    If the output is not a terminal, or with --csv or --json, all rows are printed. Control characters in texts are
    escaped, so that none reaches a terminal; --json and, into a file or pipe, --csv print texts unchanged.

    On a terminal and without a query, asks for one after the other; each ends with a semicolon.
    """
    if query is None:
        if SESSION.json or csv_ or not (sys.stdin.isatty() and out().is_terminal):
            raise typer.BadParameter("give a query, or - to read it from stdin", param_hint="QUERY")
        with remote.service() as found:
            sql_prompt.ask_for_queries(found, remote.resolve_tenant(found, tenant), limit=limit, timeout_s=timeout)
        return None
    text = sys.stdin.read() if query == "-" else query
    found = SESSION.resources.enter_context(remote.service())
    with remote.translated():
        meant = remote.resolve_tenant(found, tenant)
        columns, rows = SESSION.resources.enter_context(found.stream_query(meant, text, timeout_s=timeout))
    return queried((columns, rows), limit=limit, as_csv=csv_)
