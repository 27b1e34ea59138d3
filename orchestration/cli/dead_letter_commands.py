"""`muster dead-letters`."""

from collections.abc import Sequence
from typing import Annotated

import typer

from orchestration.cli import remote
from orchestration.cli.commands import Answer, Done, Group, command, show_done
from orchestration.cli.console import print_note, print_table
from orchestration.cli.formatting import number, shorten
from orchestration.client.records import Record

TOP = Group("")
dead_letters = Group("dead-letters", "muster dead-letters list", "muster dead-letters replay 17")
TOP.add_typer(dead_letters)


def _show_letters(letters: Sequence[Record]) -> None:
    if not letters:
        print_note("There are no dead letters.")
        return
    print_table(
        ("DEAD LETTER", "FROM", "BYTES", "REASON"),
        [
            (
                one["dead_letter"],
                f"{one['topic']}/{one['partition']}@{one['offset']}",
                number(one["bytes"]),
                shorten(one["reason"], 120),
            )
            for one in letters
        ],
        right=("DEAD LETTER", "BYTES"),
    )


@command(dead_letters, "list", "muster dead-letters list --limit 5 --json", effect="reads", show=_show_letters)
def list_(
    *,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=10_000, help="Show at most this many, the newest ones.")
    ] = 50,
) -> Sequence[Record]:
    """List dead letters with their origin and reason."""
    with remote.service() as found:
        newest = found.dead_letters(limit=limit)
    if newest["more"]:
        print_note(f"The newest {number(limit)}; there are more, --limit shows them.")
    letters: Sequence[Record] = newest["items"]
    return letters


@command(
    dead_letters,
    "replay",
    "muster dead-letters replay 17 18",
    "muster dead-letters replay --all",
    effect="remote",
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
    with remote.service() as found:
        sent = found.replay_dead_letters(numbers or None)
    notes = ["Messages that workers still cannot process become new dead letters."] if sent else []
    return Answer(value=Done(record={"sent": sent}, text=f"{number(sent)} sent again"), notes=notes)
