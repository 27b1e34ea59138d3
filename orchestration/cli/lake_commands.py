"""`muster sql`, `muster fsck` and `muster dead-letters`."""

import csv
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from orchestration.cli import options
from orchestration.cli.commands import Answer, Done, Group, command, show_done
from orchestration.cli.console import out, print_line, print_note, print_table
from orchestration.cli.exits import ExitCode
from orchestration.cli.formatting import number, safe, shorten, without_controls
from orchestration.cli.session import SESSION, kafka_context, lake_context
from orchestration.platform.deferred import deferred

if TYPE_CHECKING:
    from connectors.lake.sql import Answer as Rows
    from orchestration.operations.fsck import Report
    from schemas.messages import DeadLetter

with deferred(__name__):
    from orchestration.operations import dead_letters as operations
    from orchestration.operations import wiring

TOP = Group("")
dead_letters = Group("dead-letters", "muster dead-letters list", "muster dead-letters replay 17")
TOP.add_typer(dead_letters)
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


Letters = Sequence[tuple[int, "DeadLetter"]]
"""Dead letters with their offsets in the topic."""


def _show_letters(letters: Letters) -> None:
    if not letters:
        print_note("There are no dead letters.")
        return
    print_table(
        ("DEAD LETTER", "FROM", "BYTES", "REASON"),
        [
            (offset, f"{m.topic}/{m.partition}@{m.offset}", number(len(m.value)), shorten(m.reason, 120))
            for offset, m in letters
        ],
        right=("DEAD LETTER", "BYTES"),
    )


@command(
    dead_letters,
    "list",
    "muster dead-letters list --limit 5 --json",
    effect="reads",
    show=_show_letters,
    record=lambda letters: [operations.letter_record(offset, letter) for offset, letter in letters],
)
def list_(*, limit: options.NewestLimit = 50) -> Letters:
    """List dead letters with their origin and reason."""
    found = operations.read(kafka_context().settings.kafka_bootstrap, limit=limit + 1)
    if len(found) > limit:
        print_note(f"The newest {number(limit)}; there are more, --limit shows them.")
    return found[-limit:]


@command(
    dead_letters,
    "replay",
    "muster dead-letters replay 17 18",
    "muster dead-letters replay --all",
    effect="changes",
    show=show_done,
)
def replay(
    *,
    numbers: Annotated[
        list[int] | None,
        typer.Argument(metavar="[DEAD LETTER]...", help="Numbers, as shown by `muster dead-letters list`."),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Replay all that the topic still has.")] = False,
) -> Answer[Done]:
    """Send dead letters to their topic again.

    The original bytes go to their original partition; if a worker still cannot process
    them, they become new dead letters.
    """
    if bool(numbers) == all_:
        raise typer.BadParameter("name dead letters, or use --all")
    bootstrap = kafka_context().settings.kafka_bootstrap
    letters = operations.read(bootstrap, offsets=numbers)
    if numbers:
        letters = operations.select(letters, numbers)
    sent = operations.replay(bootstrap, letters)
    notes = ["Messages that workers still cannot process become new dead letters."] if sent else []
    return Answer(value=Done(record={"sent": sent}, text=f"{number(sent)} sent again"), notes=notes)
