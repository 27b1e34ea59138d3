"""`muster segments begin-anew`: when Kafka was lost and made anew."""

from typing import Annotated, Any

import typer

from orchestration.cli import options
from orchestration.cli.console import print_json, print_line, say
from orchestration.cli.formatting import number
from orchestration.cli.options import command
from orchestration.cli.segment_commands import segments
from orchestration.cli.session import SESSION, stack_context


def add_to(app: typer.Typer) -> None:
    """Register the command, in a group that the app has."""
    del app
    command(segments, "begin-anew", "muster segments begin-anew --dry-run", "muster segments begin-anew --yes --json")(
        begin_anew
    )


def begin_anew(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what was made anew, and change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: options.Json = False,
) -> None:
    """Go on where Kafka or some of its topics were lost and made anew.

    What is in the lake stays, and what the new topics have is added to it.
    Refused while workers of segments run.
    """
    del json
    from orchestration.operations import begin_anew as operations

    context = stack_context()
    found = operations.look(context)
    record: dict[str, Any] = {**found.as_record(), "begun": False}
    if not SESSION.json:
        _print(record)
    if found.needed and not dry_run:
        if not yes:
            typer.confirm("Begin anew? The old topics can never be brought back after that.", abort=True, err=True)
        record |= {"begun": True, "segments": operations.begin_anew(context, found)}
        if not SESSION.json:
            print_line(f"begun anew, era {found.era}: {number(record['segments'])} segments are told to workers again")
            say("Start the workers of segments now.")
    if SESSION.json:
        print_json(record)


def _print(record: dict[str, Any]) -> None:
    for one in record["topics"]:
        state = "was made anew" if one["replaced"] else "is the one that is archived"
        print_line(
            f"{one['topic']} {state}: {number(one['archived'])} records are archived, the topic has "
            f"{number(one['waiting'])}" + (f", {number(one['expired'])} have expired" if one["expired"] else "")
        )
    other = record["checkpoints_of_another_log"]
    if other:
        print_line(f"checkpoints of another Kafka in partitions {', '.join(map(str, other))}")
    if not record["needed"]:
        print_line("nothing was made anew")
