"""`muster sql`."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from orchestration.cli import options, remote
from orchestration.cli.commands import Group, command
from orchestration.cli.console import out
from orchestration.cli.session import SESSION
from orchestration.cli.sql_rows import Queried, Written, check_rows_file, queried, show_queried, written
from orchestration.platform.deferred import deferred

with deferred(__name__):
    from orchestration.cli import sql_prompt

TOP = Group("")
SQL_MAX_S: Final = 3600.0
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


@command(
    TOP,
    "sql",
    "muster sql \"select count(*) from audience('vip')\"",
    "muster sql \"select count(*) from events('purchase', since => '7d') join audience('vip') using (user_id)\"",
    "muster sql \"select code, count(*) from rejects('JOB') group by code\" --json",
    "muster sql 'select * from audience($name) where country = $country' --param name=vip --param country=JP",
    "muster sql \"from audience('vip')\" --to vip.parquet",
    "muster sql",
    show=show_queried,
)
def sql(
    *,
    query: Annotated[
        str | None, typer.Argument(metavar="[QUERY]", help="One SELECT; - reads it from stdin; without it, a prompt.")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="NAME=VALUE", help="Text that $NAME in the query stands for (repeatable)."),
    ] = None,
    tenant: options.MeantTenant = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Show at most this many rows on a terminal.")] = 100,
    csv_: Annotated[bool, typer.Option("--csv", help="Print all rows as CSV: the same as --format csv.")] = False,
    format_: Annotated[
        Literal["table", "csv", "json", "jsonl"] | None,
        typer.Option("--format", help="How to print the rows [table on a terminal, else csv]."),
    ] = None,
    to: options.RowsPath = None,
    overwrite: options.Overwrite = False,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0.1, max=SQL_MAX_S, help="Time limit of the query.")
    ] = SQL_MAX_S,
) -> Queried | Written | None:
    """Query audiences, segments, events, profiles and rejects.

    Read them as audience('name'[, version => N][, tenant => 'T']), segment('name'), events(['name'][, since => '30d']
    [, until => TIME]), profiles() and rejects('job'). Segments, events and profiles take a tenant, too.

    $NAME in the query, also as an argument of these, is the value of --param NAME=VALUE as a text: put the query into
    single quotes, so that the shell leaves it alone.

    If the output is not a terminal, or with --csv or --json, all rows are printed. Control characters in texts are
    escaped, so that none reaches a terminal; --json and, into a file or pipe, --csv print texts unchanged.

    On a terminal and without a query, asks for one after the other; each ends with a semicolon.
    """
    form = _form(csv=csv_, form=format_)
    if to is not None:
        _check_file(to, form, overwrite=overwrite)
    parameters = _parameters(param or ())
    if query is None:
        if SESSION.json or form or parameters or to or not (sys.stdin.isatty() and out().is_terminal):
            raise typer.BadParameter("give a query, or - to read it from stdin", param_hint="QUERY")
        with remote.service() as found:
            sql_prompt.ask_for_queries(found, remote.resolve_tenant(found, tenant), limit=limit, timeout_s=timeout)
        return None
    text = sys.stdin.read() if query == "-" else query
    found = SESSION.resources.enter_context(remote.service())
    with remote.translated():
        meant = remote.resolve_tenant(found, tenant)
        streamed = found.stream_query(meant, text, parameters=parameters, timeout_s=timeout)
        rows = SESSION.resources.enter_context(streamed)
    asked = queried(rows, limit=limit, form=form)
    return asked if to is None else written(asked, to, overwrite=overwrite)


def _form(*, csv: bool, form: Literal["table", "csv", "json", "jsonl"] | None) -> Literal["", "table", "csv", "jsonl"]:
    """How rows are printed; empty: as the output is. `json` is what --json asks for."""
    if (csv or SESSION.json) and form not in {None, "json" if SESSION.json else "csv"}:
        raise typer.BadParameter(f"give --format {form} or {'--json' if SESSION.json else '--csv'}, not both")
    if form == "json":
        SESSION.json = True
        return ""
    return "csv" if csv else form or ""


def _check_file(to: Path, form: str, *, overwrite: bool) -> None:
    if form:
        raise typer.BadParameter("the end of FILE says how it is written: --csv and --format do not apply")
    check_rows_file(to, overwrite=overwrite)


def _parameters(given: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or NAME.fullmatch(name) is None:
            raise typer.BadParameter(
                f"{name[:80]!r} is not NAME=VALUE, with a name of letters, digits and _", param_hint="--param"
            )
        if name in found:
            raise typer.BadParameter(f"{name} is given twice", param_hint="--param")
        found[name] = value
    return found
