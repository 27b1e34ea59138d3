"""`muster sql`, `muster fsck` and `muster dead-letters`."""

import csv
import sys
from itertools import islice
from typing import Annotated, Final

import typer

from orchestration.cli import options
from orchestration.cli.console import out, print_json, print_json_rows, print_line, print_table, say
from orchestration.cli.exits import ExitCode
from orchestration.cli.formatting import number, safe, shorten, without_controls
from orchestration.cli.options import command, group
from orchestration.cli.session import SESSION, kafka_context, lake_context

SQL_MAX_S: Final = 3600.0

dead_letters = group(
    "dead-letters",
    "Messages that no worker could decode.",
    "muster dead-letters list",
    "muster dead-letters replay 17",
)


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    command(
        app,
        "sql",
        "muster sql \"select count(*) from audience('vip')\"",
        "muster sql \"select code, count(*) from rejects('JOB') group by code\" --json",
    )(sql)
    command(app, "fsck", "muster fsck", "muster fsck --repair --json")(fsck)
    app.add_typer(dead_letters)


def sql(
    *,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="One SELECT; - reads it from stdin.")],
    tenant: options.Tenant = "default",
    limit: Annotated[int, typer.Option("--limit", min=1, help="Show at most so many rows on a terminal.")] = 100,
    csv_: Annotated[bool, typer.Option("--csv", help="Print all rows as CSV.")] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0.1, max=SQL_MAX_S, help="Longest run.")
    ] = SQL_MAX_S,
    json: options.Json = False,
) -> None:
    """Query published audiences and rejects.

    They are read as audience('name'[, version => N][, tenant => 'T']) and rejects('job').

    Where the output is no terminal, or with --csv or --json, all rows are printed. Control characters in texts are
    escaped, so that none reaches a terminal; --json and, into a file or pipe, --csv print texts as they are.
    """
    del json
    from orchestration.operations.reading import sql as run_sql

    text = sys.stdin.read() if query == "-" else query
    with run_sql(lake_context(), text, tenant=tenant, timeout_s=timeout) as answer:
        if SESSION.json:
            print_json_rows(dict(zip(answer.names, row, strict=True)) for row in answer.rows)
        elif csv_ or not out().is_terminal:
            writer = csv.writer(sys.stdout, lineterminator="\n")
            exact = csv_ and not out().is_terminal
            writer.writerow(answer.names if exact else map(without_controls, answer.names))
            writer.writerows(answer.rows if exact else (map(without_controls, row) for row in answer.rows))
        else:
            found = list(islice(answer.rows, limit + 1))
            numeric = [n for i, n in enumerate(answer.names) if found and isinstance(found[0][i], int | float)]
            print_table(answer.names, [["" if v is None else v for v in row] for row in found[:limit]], right=numeric)
            if len(found) > limit:
                say(f"The first {limit} rows; --limit shows more, --csv all.")


def fsck(
    *,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what is derived, remove staged leftovers.")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Read the archive, and compare its lists of users.")] = False,
    json: options.Json = False,
) -> None:
    """Hold staging, lake and catalog against each other.

    Exit code 7 when something is wrong.
    """
    del json
    from orchestration.operations.fsck import fsck as check

    report = check(lake_context(), repair=repair, deep=deep)
    if SESSION.json:
        print_json(report.as_record())
    else:
        for finding in report.findings:
            word = "repaired" if finding.repaired else finding.severity
            print_line(f"{word:<9} {finding.code}  {finding.subject}: {safe(finding.message)}")
        checked = (
            f"{number(report.audiences)} audiences, {number(report.versions)} versions, {number(report.jobs)} jobs"
        )
        print_line(f"{checked}: " + (f"{report.wrong} wrong" if report.wrong else "all is well"))
    if report.wrong:
        raise typer.Exit(ExitCode.CHECK_FAILED)


@command(dead_letters, "list", "muster dead-letters list --limit 5 --json")
def list_(
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, the newest.")] = 50,
    json: options.Json = False,
) -> None:
    """List dead letters: origin and reason."""
    del json
    from orchestration.operations.dead_letters import letter_record, read

    found = read(kafka_context().settings.kafka_bootstrap, limit=limit + 1)
    letters = found[-limit:]
    if len(found) > limit:
        say(f"The newest {number(limit)}; there are more, --limit shows them.")
    if SESSION.json:
        print_json([letter_record(offset, letter) for offset, letter in letters])
        return
    if not letters:
        say("There are no dead letters.")
        return
    print_table(
        ("DEAD LETTER", "FROM", "BYTES", "REASON"),
        [
            (offset, f"{m.topic}/{m.partition}@{m.offset}", number(len(m.value)), shorten(m.reason, 120))
            for offset, m in letters
        ],
        right=("DEAD LETTER", "BYTES"),
    )


@command(dead_letters, "replay", "muster dead-letters replay 17 18", "muster dead-letters replay --all")
def replay(
    *,
    numbers: Annotated[
        list[int] | None, typer.Argument(metavar="[DEAD LETTER]...", help="As `muster dead-letters list` shows them.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="All that the topic still has.")] = False,
    json: options.Json = False,
) -> None:
    """Send dead letters to their topic again.

    The original bytes go to their partition; a worker that still cannot read them rejects them.
    """
    del json
    if bool(numbers) == all_:
        raise typer.BadParameter("name dead letters, or use --all")
    from orchestration.operations import dead_letters as operations

    bootstrap = kafka_context().settings.kafka_bootstrap
    letters = operations.read(bootstrap, offsets=numbers)
    if numbers:
        letters = operations.select(letters, numbers)
    sent = operations.replay(bootstrap, letters)
    if SESSION.json:
        print_json({"sent": sent})
    else:
        print_line(f"{number(sent)} sent again")
    if sent:
        say("Workers that still cannot decode them will reject them again.")
