"""Questions about segments: `muster segments preview`, `muster segments check`, `muster explain`."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import typer

from muster.records import Record
from orchestration.cli import options, remote
from orchestration.cli.commands import Answer, Group, command
from orchestration.cli.console import print_line, print_note, print_pairs, print_table
from orchestration.cli.exits import ExitCode
from orchestration.cli.formatting import counted, member_pairs, number, safe, some_of, text_time
from orchestration.cli.rule_files import rule_text
from orchestration.cli.segment_commands import Name, Zone, segments
from orchestration.cli.segment_notes import count_notes, unseen_notes
from orchestration.platform.deferred import deferred

with deferred(__name__):
    from muster import following
    from segmentation.rules import windows

TOP = Group("")
Engine = Annotated[
    Literal["duckdb", "spark"] | None,
    typer.Option("--engine", help="What evaluates the rule, instead of the deployment's setting."),
]


_PREVIEW: Final = (
    "members",
    "rounded_to",
    "as_of",
    "unseen_events",
    "unseen_attributes",
    "suggestions",
    "mistyped",
    "paused",
    "outside",
    "known_only_by",
)


def _preview_record(found: Record) -> Record:
    return {name: found[name] for name in _PREVIEW}


def _show_preview(found: Record) -> None:
    members, to = found["members"], found["rounded_to"]
    if members is None:
        print_line(f"fewer than about {number(to)} users")
    else:
        print_line(f"{'about ' if to else ''}{counted(members, 'user')}{_only_by(found)}")
    for note in count_notes({**found, "known_only_by": None}):
        print_note(note)
    for name in found["paused"]:
        print_note(f"Note: segment {name} is paused; it is counted as if it were active.")


def _only_by(found: Record) -> str:
    """`; 1,700 known only by audience vip`."""
    named = [
        f"{number(one['users'])} known only by audience {one['audience']}"
        for one in found["known_only_by"] or ()
        if one["users"]
    ]
    return f"; {', '.join(named)}" if named else ""


@command(
    segments,
    "preview",
    'muster segments preview "count(purchase, 30d) >= 2 and age >= 25"',
    "muster segments preview @lapsed.rule --timezone Asia/Tokyo",
    "muster segments preview @lapsed.rule --engine spark --json",
    show=_show_preview,
    record=_preview_record,
)
def preview(
    *,
    rule: Annotated[str, typer.Argument(metavar="RULE|@FILE", help="The rule, or a file with it.")],
    timezone: Zone = None,
    engine: Engine = None,
    tenant: options.MeantTenant = None,
) -> Record:
    """Count the users that a rule matches now.

    The number is exact with the right to read users (analyst, engineer,
    admin); without it, it is rounded to ten and limited to some a day.

    Spark counts over the tables of the archive, DuckDB over their files: the
    same numbers, and without --engine as the deployment has set.

    Counts over the archive, some seconds behind the topics. Members of
    audiences without an event or a profile are in no segment; their number is
    shown.
    """
    text = rule_text(rule)
    with remote.service() as found:
        meant = remote.resolve_tenant(found, tenant)
        return found.count(meant, text, timezone=timezone, exact=True, notes=True, engine=engine)


def _show_forecast(found: Record) -> None:
    to = found["rounded_to"]
    now = found["points"][0]["members"] if not to and found["points"][0]["in_s"] == 0 else None
    print_table(
        ("IN", "AT (UTC)", "MEMBERS", "CHANGE"),
        [
            (
                windows.window_text(one["in_s"]) or "now",
                text_time(one["at"]),
                f"< {number(to)}" if one["members"] is None else f"{'about ' if to else ''}{number(one['members'])}",
                "" if now is None or not one["in_s"] else f"{one['members'] - now:+,}",
            )
            for one in found["points"]
        ],
        right=("MEMBERS", "CHANGE"),
    )
    for name in found["paused"]:
        print_note(f"Note: segment {name} is paused; it is counted as if it were active.")


@command(
    segments,
    "forecast",
    "muster segments forecast buyers --in 1h,24h,7d",
    show=_show_forecast,
)
def forecast(
    *,
    name: Name,
    later: Annotated[
        str, typer.Option("--in", metavar="TIMES", help="Up to 47 times from now, such as 1h,24h,7d.")
    ] = "1h,24h,7d",
    tenant: options.MeantTenant = None,
) -> Record:
    """Show how the passing of time alone changes the size of a segment.

    Counts its members now and at later instants, by the events and profiles
    archived so far. Exact with the right to read users, else rounded.
    """
    instants_s = [0, *(options.window_s(one, "--in") for one in later.split(","))]
    with remote.service() as found:
        return found.forecast(remote.resolve_tenant(found, tenant), name, instants_s)


def _show_checked(found: Record) -> None:
    missing, extra = found["missing"], found["extra"]
    named = f"{found['tenant']}/{found['segment']}, rule version {found['rule_version']}, as of {found['as_of']}"
    print_pairs(
        [
            ("segment", named),
            ("by the rule", number(found["by_rule"])),
            ("by the stream", number(found["by_stream"])),
            ("missing", some_of(missing["users"], missing["some"])),
            ("extra", some_of(extra["users"], extra["some"])),
            *member_pairs(found),
            ("result", "equal" if found["equal"] else "DIFFERENT"),
        ]
    )


@command(
    segments,
    "check",
    "muster segments check buyers",
    "muster segments check buyers --timeout 600 --json",
    "muster segments check buyers --engine spark",
    show=_show_checked,
)
def check(
    *,
    name: Name,
    timeout: Annotated[
        float,
        typer.Option("--timeout", metavar="SECONDS", min=1, max=3000, help="How long to wait for workers and archive."),
    ] = 120,
    engine: Engine = None,
    tenant: options.MeantTenant = None,
) -> Answer[Record]:
    """Compare the workers' members with the rule over the archive.

    Both are taken at the same offsets and instant. Exit code 7 if they differ.
    """
    with remote.service() as found:
        meant = remote.resolve_tenant(found, tenant)
        checked = following.result(
            found, meant, found.begin_segment_check(meant, name, timeout_s=timeout, engine=engine)
        )
    return Answer(
        value=checked, notes=unseen_notes(checked), code=ExitCode.OK if checked["equal"] else ExitCode.CHECK_FAILED
    )


def _show_explained(found: Record) -> None:
    is_in = "is in" if found["member"] else "is not in"
    print_line(
        f"{safe(found['user'])} {is_in} {found['segment']} as of {found['as_of']} (partition {found['partition']})"
    )
    if found["outside"]:
        audiences = ", ".join(found["outside"])
        print_line(
            f"outside: a member of {audiences} without an event or a profile; the rule does not ask about such users"
        )
    if found["known_only_by"]:
        print_line(f"known only by audience {', '.join(found['known_only_by'])}: no event and no profile")
    for part in found["groups"]:
        alone = len(part["conditions"]) == 1 and not part["negated"]
        if not alone:
            print_line(f"{_mark(part['true'])} {'none of' if part['negated'] else 'one of'}")
        for condition in part["conditions"]:
            indent = "" if alone else "    "
            print_line(f"{indent}{_mark(condition['true'])} {safe(condition['condition'])}{_evidence(condition)}")
            _print_events(condition.get("events", ()))
            for step in condition.get("steps", ()):
                mark = _mark(step["reached_at"] is not None)
                print_line(f"{indent}    {mark} {safe(step['step'])}{_progress(step)}")
                _print_events(step["events"])
    for paused in found["paused"]:
        print_note(f"Note: {paused} is paused; this is what its rule says now.")


def _print_events(events: Sequence[Record]) -> None:
    for event in events:
        id_ = "" if event["event_id"] is None else f", id {safe(event['event_id'])}"
        print_line(f"            {event['occurred_at']}, offset {event['offset']}{id_}")


def _progress(step: Record) -> str:
    """When a step was reached and what it waits for, in brackets."""
    found = [] if step["reached_at"] is None else [f"reached {step['reached_at']}"]
    if step.get("value") is not None:
        found.append(f"with {safe(step['value'])}")
    if step["waits_until"] is not None:
        found.append(f"waits until {step['waits_until']}")
    found.append(f"{number(step['counted'])} counted")
    return f"   ({', '.join(found)})"


def _evidence(condition: dict[str, Any]) -> str:
    if "steps" in condition:
        return f"   (changes at {condition['changes_at']})" if condition["changes_at"] else ""
    found = []
    if "value" in condition:
        found.append("no value" if condition["value"] is None else f"value {safe(condition['value'])}")
    if "counted" in condition:
        found.append(f"{number(condition['counted'])} counted")
        found += [f"changes at {condition['changes_at']}"] if condition.get("changes_at") else []
    return f"   ({', '.join(found)})" if found else ""


def _mark(true: bool) -> str:  # noqa: FBT001  # an answer
    return "yes" if true else "no "


@command(
    TOP,
    "explain",
    "muster explain buyers alice",
    "muster explain buyers alice --as-of 2026-11-25T12:00:00Z --json",
    show=_show_explained,
)
def explain(
    *,
    name: Name,
    user: Annotated[str, typer.Argument(metavar="USER", help="User id.")],
    as_of: Annotated[
        str | None, typer.Option("--as-of", metavar="TIME", help="ISO 8601 with an offset, instead of now.")
    ] = None,
    tenant: options.MeantTenant = None,
) -> Record:
    """Explain from the archive why a user is in a segment or not."""
    at = None if as_of is None else options.instant(as_of, "--as-of").isoformat()
    with remote.service() as found:
        return found.explain(remote.resolve_tenant(found, tenant), name, user, as_of=at)
