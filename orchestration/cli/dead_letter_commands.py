"""`muster dead-letters`."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from muster.records import Record
from orchestration.cli import remote
from orchestration.cli.commands import Answer, Done, Group, command, show_done
from orchestration.cli.console import print_line, print_note, print_pairs, print_table
from orchestration.cli.formatting import number, shorten, text_time, without_controls

TOP = Group("")
dead_letters = Group(
    "dead-letters", "muster dead-letters list", "muster dead-letters show 17", "muster dead-letters replay 17"
)
TOP.add_typer(dead_letters)


class State(StrEnum):
    """States of dead letters, for `--state`."""

    OPEN = "open"
    REPLAYING = "replaying"
    INTERRUPTED = "interrupted"
    REPLAYED = "replayed"
    DISMISSED = "dismissed"


def _show_letters(letters: Sequence[Record]) -> None:
    if not letters:
        print_note("There are no dead letters.")
        return
    print_table(
        ("DEAD LETTER", "STATE", "FROM", "BYTES", "REASON"),
        [
            (
                one["dead_letter"],
                one.get("state", ""),
                f"{one['topic']}/{one['partition']}@{one['offset']}",
                number(one["bytes"]),
                shorten(one["reason"], 120),
            )
            for one in letters
        ],
        right=("DEAD LETTER", "BYTES"),
    )


@command(
    dead_letters,
    "list",
    "muster dead-letters list --limit 5 --json",
    "muster dead-letters list --state open --state interrupted",
    show=_show_letters,
)
def list_(
    *,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=10_000, help="Show at most this many, the newest ones.")
    ] = 50,
    state: Annotated[
        list[State] | None, typer.Option("--state", help="Show only those in this state. Repeatable.")
    ] = None,
) -> Sequence[Record]:
    """List dead letters with their state, origin and reason.

    `interrupted`: a replay ended early, and it is unknown whether the record was sent.
    """
    with remote.service() as found:
        newest = found.dead_letters(limit=limit, state=[one.value for one in state or ()])
    if newest["more"]:
        print_note(f"The newest {number(limit)}; there are more, --limit shows them.")
    return newest["items"]


def _show_letter(letter: Record) -> None:
    origin = f"{letter['topic']}/{letter['partition']}@{letter['offset']}"
    print_pairs(
        [
            ("dead letter", letter["dead_letter"]),
            ("from", origin),
            ("failed at", f"{text_time(letter['failed_at'])} UTC"),
            ("reason", letter["reason"]),
            ("state", letter["state"]),
            *(
                [("since", f"{text_time(letter['state_at'])} UTC, by {letter['state_by']}")]
                if letter["state_by"]
                else []
            ),
            *([("sent to", f"offset {letter['sent_offset']}")] if letter["sent_offset"] is not None else []),
            *([("refused as", letter["refused_as"])] if letter["refused_as"] is not None else []),
            *([("replay of", letter["replay_of"])] if letter["replay_of"] is not None else []),
            *([("key", letter["key_text"] or letter["key"])] if letter["key"] else []),
            ("bytes", number(letter["bytes"])),
        ]
    )
    if letter["value_text"] is None:
        print_note("The value is not text; in base64:")
        print_line(letter["value"])
    else:
        print_line(str(without_controls(letter["value_text"])))


@command(
    dead_letters,
    "show",
    "muster dead-letters show 17",
    "muster dead-letters show 17 --json",
    show=_show_letter,
)
def show(
    *, dead_letter: Annotated[int, typer.Argument(min=0, help="Number, as shown by `muster dead-letters list`.")]
) -> Record:
    """Show one dead letter with its whole record.

    Records show users, so this needs the role admin in the deployment, and leaves an
    entry in the audit trail.
    """
    with remote.service() as found:
        return found.dead_letter(dead_letter)


Numbers = Annotated[
    list[int] | None,
    typer.Argument(metavar="[DEAD LETTER]...", help="Numbers, as shown by `muster dead-letters list`."),
]
All = Annotated[bool, typer.Option("--all", help="All open ones.")]
Code = Annotated[str | None, typer.Option("--code", help="With --all: those whose reason has this code.")]
Topic = Annotated[str | None, typer.Option("--topic", help="With --all: those from this topic.")]


@command(
    dead_letters,
    "replay",
    "muster dead-letters replay 17 18",
    "muster dead-letters replay --all --code unknown_tenant",
    show=show_done,
)
def replay(*, numbers: Numbers = None, all_: All = False, code: Code = None, topic: Topic = None) -> Answer[Done]:
    """Send dead letters to their topic again, each once.

    The original bytes go to their original partition; if a worker still cannot process
    them, they become new dead letters. Letters that were replayed stay as they are, and
    --all leaves out dismissed and interrupted ones.
    """
    _require_choice(numbers, all_=all_, code=code, topic=topic)
    with remote.service() as found:
        done = found.replay_dead_letters(numbers or None, topic=topic, code=code)
    notes = ["Messages that workers still cannot process become new dead letters."] if done["sent"] else []
    return _answer(done, f"{number(done['sent'])} sent again", notes)


@command(
    dead_letters,
    "dismiss",
    "muster dead-letters dismiss 17 18",
    "muster dead-letters dismiss --all --code undecodable",
    show=show_done,
)
def dismiss(*, numbers: Numbers = None, all_: All = False, code: Code = None, topic: Topic = None) -> Answer[Done]:
    """Dismiss dead letters that need no replay.

    They can still be shown, and replayed by number.
    """
    _require_choice(numbers, all_=all_, code=code, topic=topic)
    with remote.service() as found:
        done = found.dismiss_dead_letters(numbers or None, topic=topic, code=code)
    return _answer(done, f"{number(done['dismissed'])} dismissed", [])


def _require_choice(numbers: list[int] | None, *, all_: bool, code: str | None, topic: str | None) -> None:
    if bool(numbers) == all_:
        raise typer.BadParameter("name dead letters, or use --all")
    if not all_ and (code is not None or topic is not None):
        raise typer.BadParameter("--code and --topic need --all")


def _answer(done: Record, text: str, notes: list[str]) -> Answer[Done]:
    if already := done.get("already"):
        text += f"; {number(already)} left as they are: replayed or dismissed before"
    if done.get("more"):
        notes.append("There are more: run the command again.")
    return Answer(value=Done(record=done, text=text), notes=notes)
