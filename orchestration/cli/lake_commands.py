"""`muster sql` and `muster fsck`."""

import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from orchestration.cli import options
from orchestration.cli.commands import Answer, Group, command
from orchestration.cli.console import out, print_line, print_note, print_table
from orchestration.cli.exits import ExitCode
from orchestration.cli.formatting import number, safe, without_controls
from orchestration.cli.session import SESSION, lake_context
from orchestration.platform.deferred import deferred

if TYPE_CHECKING:
    from connectors.lake.sql import Answer as Rows
    from orchestration.operations.fsck import Report

with deferred(__name__):
    from orchestration.operations import wiring

TOP = Group("")
SQL_MAX_S: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Queried:
    """Rows of a query, produced while they are printed; on a terminal the first `limit`, unless `csv`."""

    rows: "Rows"
    limit: int
    csv: bool

    def as_record(self) -> Iterator[dict[str, Any]]:
        """Plain JSON data, row by row."""
        return (dict(zip(self.rows.names, row, strict=True)) for row in self.rows.rows)


def _show_queried(found: Queried) -> None:
    names, rows = found.rows.names, found.rows.rows
    if found.csv or not out().is_terminal:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        exact = found.csv and not out().is_terminal
        writer.writerow(names if exact else map(without_controls, names))
        writer.writerows(rows if exact else (map(without_controls, row) for row in rows))
        return
    fetched = list(islice(rows, found.limit + 1))
    numeric = [n for i, n in enumerate(names) if fetched and isinstance(fetched[0][i], int | float)]
    print_table(names, [["" if v is None else v for v in row] for row in fetched[: found.limit]], right=numeric)
    if len(fetched) > found.limit:
        print_note(f"The first {found.limit} rows; --limit shows more, --csv all.")


@command(
    TOP,
    "sql",
    "muster sql \"select count(*) from audience('vip')\"",
    "muster sql \"select code, count(*) from rejects('JOB') group by code\" --json",
    effect="reads",
    show=_show_queried,
)
def sql(
    *,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="One SELECT; - reads it from stdin.")],
    tenant: options.Tenant = "default",
    limit: Annotated[int, typer.Option("--limit", min=1, help="Show at most this many rows on a terminal.")] = 100,
    csv_: Annotated[bool, typer.Option("--csv", help="Print all rows as CSV.")] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0.1, max=SQL_MAX_S, help="Time limit of the query.")
    ] = SQL_MAX_S,
) -> Queried:
    """Query published audiences and rejects.

    Read them as audience('name'[, version => N][, tenant => 'T']) and rejects('job').

    If the output is not a terminal, or with --csv or --json, all rows are printed. Control characters in texts are
    escaped, so that none reaches a terminal; --json and, into a file or pipe, --csv print texts unchanged.
    """
    text = sys.stdin.read() if query == "-" else query
    running = wiring.queries(lake_context()).sql(text, tenant=tenant, timeout_s=timeout)
    return Queried(rows=SESSION.resources.enter_context(running), limit=limit, csv=csv_)


def _show_report(report: "Report") -> None:
    for finding in report.findings:
        word = "repaired" if finding.repaired else finding.severity
        print_line(f"{word:<9} {finding.code}  {finding.subject}: {safe(finding.message)}")
    checked = f"{number(report.audiences)} audiences, {number(report.versions)} versions, {number(report.jobs)} jobs"
    print_line(f"{checked}: " + (f"{report.wrong} wrong" if report.wrong else "all is well"))


@command(
    TOP,
    "fsck",
    "muster fsck",
    "muster fsck --repair --json",
    effect="changes",
    acts=lambda given: bool(given["repair"]),
    show=_show_report,
)
def fsck(
    *,
    repair: Annotated[bool, typer.Option("--repair", help="Repair derived data and remove staged leftovers.")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Also read the archive and compare its lists of users.")] = False,
) -> "Answer[Report]":
    """Compare staging, lake and catalog.

    Exit code 7 if anything is wrong.
    """
    report = wiring.fsck(lake_context()).run(repair=repair, deep=deep)
    return Answer(value=report, code=ExitCode.CHECK_FAILED if report.wrong else ExitCode.OK)
