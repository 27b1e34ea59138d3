"""`muster segments rebase`: recovery after Kafka was lost and recreated."""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Annotated, Any

import typer

from orchestration.cli.admin.audit_trail import audited
from orchestration.cli.admin.contexts import stack_context
from orchestration.cli.commands import command, show_now
from orchestration.cli.console import print_line, print_note
from orchestration.cli.formatting import number
from orchestration.cli.segment_commands import segments
from orchestration.platform.deferred import deferred

with deferred(__name__):
    from orchestration.composition import administration


def _show_found(record: Mapping[str, Any]) -> None:
    for one in record["topics"]:
        state = "was recreated" if one["replaced"] else "is the archived topic"
        print_line(
            f"{one['topic']} {state}: {number(one['archived'])} records are archived, the topic has "
            f"{number(one['waiting'])}" + (f", {number(one['expired'])} have expired" if one["expired"] else "")
        )
    other = record["checkpoints_of_another_log"]
    if other:
        print_line(f"checkpoints of another Kafka cluster in partitions {', '.join(map(str, other))}")
    if not record["needed"]:
        print_line("nothing was recreated")


def _show_begun(record: Mapping[str, Any]) -> None:
    if record["begun"]:
        print_line(
            f"log epoch {record['era']} has begun: {number(record['segments'])} segments were sent to workers again"
        )
        print_note("The segment workers start again." if record["on_demand"] else "Start the segment workers now.")


@command(
    segments,
    "rebase",
    "muster segments rebase --dry-run",
    "muster segments rebase --yes --json",
    show=_show_begun,
    audit=lambda path, given: nullcontext() if given["dry_run"] else audited(path, given),
)
def rebase(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report what was recreated; change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Skip the confirmation prompt.")] = False,
) -> Mapping[str, Any]:
    """Recover after Kafka or topics were lost and recreated.

    The lake stays as it is, and records of the new topics are added to it.
    Refused while segment workers run, unless their count follows the work: then they are stopped meanwhile.
    """
    context = stack_context()
    found = administration.rebase(context).inspect()
    record: dict[str, Any] = {**found.as_record(), "on_demand": not context.scaler.fixed, "begun": False}
    show_now(record, _show_found)
    if found.needed and not dry_run:
        if not yes:
            typer.confirm(
                "Continue with the new topics? The old ones can never be restored after that.", abort=True, err=True
            )
        record |= {"begun": True, "segments": administration.rebase(context).run(found)}
    return record
