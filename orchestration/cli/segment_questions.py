"""What is asked of segments: `muster segments preview`, `muster segments check`, `muster explain`."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from orchestration.cli import options
from orchestration.cli.console import print_json, print_line, print_pairs, say
from orchestration.cli.exits import ExitCode
from orchestration.cli.formatting import number, outside_texts, safe
from orchestration.cli.options import command
from orchestration.cli.segment_commands import Name, Zone, say_outside, say_unseen, segments
from orchestration.cli.session import SESSION, lake_context, stack_context


def add_to(app: typer.Typer) -> None:
    """Register what is not in the group."""
    command(
        app,
        "explain",
        "muster explain buyers alice",
        "muster explain buyers alice --as-of 2026-11-25T12:00:00Z --json",
    )(explain)


@command(
    segments,
    "preview",
    'muster segments preview "count(purchase, 30d) >= 2 and age >= 25"',
    "muster segments preview @lapsed.rule --timezone Asia/Tokyo",
)
def preview(
    *,
    rule: Annotated[str, typer.Argument(metavar="RULE|@FILE", help="The rule, or a file that has it.")],
    timezone: Zone = None,
    tenant: options.Tenant = "default",
    json: options.Json = False,
) -> None:
    """Count how many users a rule finds now, exactly.

    By what is archived: some seconds behind what was sent. Members of audiences
    without an event or a profile are in no segment; how many is told.
    """
    del json
    from orchestration.operations.segment_queries import preview as preview_it
    from orchestration.operations.segments import read_rule

    given = read_rule(rule, timezone)
    found = preview_it(lake_context(), tenant, given)
    outside = [one.as_record() for one in found.outside]
    if SESSION.json:
        print_json(
            {
                "members": found.members,
                "as_of": found.at.isoformat(),
                "unseen_events": found.unseen_events,
                "unseen_attributes": found.unseen_attributes,
                "mistyped": [one.as_record() for one in found.mistyped],
                "paused": found.paused,
                "outside": outside,
            }
        )
        return
    print_line(f"{number(found.members)} {'user' if found.members == 1 else 'users'}")
    say_unseen(found.unseen_events, found.unseen_attributes, found.mistyped)
    say_outside(outside)
    for name in found.paused:
        say(f"Note: segment {name} is paused, and is counted as if it were not.")


@command(segments, "check", "muster segments check buyers", "muster segments check buyers --timeout 600 --json")
def check(
    *,
    name: Name,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=1, help="Wait no longer for workers and archive.")
    ] = 120,
    tenant: options.Tenant = "default",
    json: options.Json = False,
) -> None:
    """Hold the members that workers have against the rule, asked of the archive.

    Both at the same offsets and the same instant. Exit code 7: they differ.
    """
    del json
    from orchestration.operations.segment_check import check as check_it

    found = check_it(stack_context(), tenant, name, timeout)
    compared, outside = found.comparison, [one.as_record() for one in found.outside]
    if SESSION.json:
        print_json(
            {
                "segment": name,
                "tenant": tenant,
                "rule_version": found.rule_version,
                "cut_id": found.cut_id,
                "as_of": found.at.isoformat(),
                "equal": compared.equal,
                "by_rule": compared.by_rule,
                "by_stream": compared.by_stream,
                "missing": {"users": compared.missing, "some": compared.missing_users},
                "extra": {"users": compared.extra, "some": compared.extra_users},
                "outside": outside,
            }
        )
    else:
        print_pairs(
            [
                ("segment", f"{tenant}/{name}, rule version {found.rule_version}, as of {found.at.isoformat()}"),
                ("by the rule", number(compared.by_rule)),
                ("by the stream", number(compared.by_stream)),
                ("missing", _sample(compared.missing, compared.missing_users)),
                ("too many", _sample(compared.extra, compared.extra_users)),
                *(("outside", text) for text in outside_texts(outside)),
                ("", "equal" if compared.equal else "DIFFERENT"),
            ]
        )
    if not compared.equal:
        raise typer.Exit(ExitCode.CHECK_FAILED)


def explain(
    *,
    name: Name,
    user: Annotated[str, typer.Argument(metavar="USER", help="User id.")],
    as_of: Annotated[
        str | None, typer.Option("--as-of", metavar="TIME", help="ISO 8601 with an offset, instead of now.")
    ] = None,
    tenant: options.Tenant = "default",
    json: options.Json = False,
) -> None:
    """Say why a user is in a segment or not, by what is archived."""
    del json
    from orchestration.operations.segment_queries import explain as explain_it

    found = explain_it(lake_context(), tenant, name, user, None if as_of is None else options.instant(as_of, "--as-of"))
    if SESSION.json:
        print_json(found)
        return
    is_in = "is in" if found["member"] else "is not in"
    print_line(f"{safe(user)} {is_in} {name} as of {found['as_of']} (partition {found['partition']})")
    if found["outside"]:
        audiences = ", ".join(found["outside"])
        print_line(f"outside: a member of {audiences} without an event or a profile; no rule asks about those")
    for part in found["groups"]:
        print_line(f"{_mark(part['true'])} {'none of' if part['negated'] else 'one of'}")
        for condition in part["conditions"]:
            print_line(f"    {_mark(condition['true'])} {safe(condition['condition'])}{_evidence(condition)}")
            for event in condition.get("events", ()):
                id_ = "" if event["event_id"] is None else f", id {safe(event['event_id'])}"
                print_line(f"          {event['occurred_at']}, offset {event['offset']}{id_}")
    for paused in found["paused"]:
        say(f"Note: {paused} is paused; this is what its rule says now.")


def _evidence(condition: dict[str, Any]) -> str:
    if "value" in condition:
        value = condition["value"]
        return "   (no value)" if value is None else f"   (value {safe(value)})"
    if "counted" not in condition:
        return ""
    changes = f", changes at {condition['changes_at']}" if condition.get("changes_at") else ""
    return f"   ({number(condition['counted'])} counted{changes})"


def _mark(true: bool) -> str:  # noqa: FBT001  # an answer
    return "yes" if true else "no "


def _sample(count: int, some: Sequence[str]) -> str:
    shown = ", ".join(map(safe, some))
    return number(count) if not some else f"{number(count)}: {shown}{', ...' if count > len(some) else ''}"
