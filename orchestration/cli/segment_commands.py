"""`muster segments`: sets of users that rules describe."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from orchestration.cli import options
from orchestration.cli.console import print_json, print_line, print_pairs, print_table, say
from orchestration.cli.formatting import clock_time, duration, number, outside_texts, safe, shorten
from orchestration.cli.options import command, group
from orchestration.cli.session import SESSION, catalog_context

if TYPE_CHECKING:
    from connectors.lake.segment_queries import Mistyped
    from orchestration.catalog.segment_records import NewRule, Segment, Standing
    from orchestration.context import Context

segments = group(
    "segments",
    "Segments: the users for whom a rule is true, kept current.",
    "muster segments list",
    'muster segments create buyers --rule "count(purchase, 30d) >= 2"',
)
Name = Annotated[str, typer.Argument(metavar="SEGMENT", help="Name of the segment.")]
Rule = Annotated[
    str, typer.Option("--rule", metavar="RULE|@FILE", help="The rule, or a file that has it; as text or as JSON.")
]
Zone = Annotated[
    str | None,
    typer.Option("--timezone", metavar="ZONE", help="IANA zone of dates, and of times without an offset."),
]
WIDTH = 60
"""Of a rule in a list."""
TYPE_WORDS: Final = {
    "double": ("a number", "numbers"),
    "string": ("a text", "text"),
    "boolean": ("true or false", "true or false"),
    "date": ("a date", "dates"),
    "timestamp": ("a time", "times"),
}
"""Of the types that a value may have: one, and several."""
UNSEEN_SHOWN = 20
"""Names that nobody has ever had, of either kind: a rule may have a thousand."""


def add_to(app: typer.Typer) -> None:
    """Register the group."""
    app.add_typer(segments)


@command(
    segments,
    "create",
    'muster segments create buyers --rule "count(purchase, 30d) >= 2 and age >= 25"',
    "muster segments create lapsed --rule @lapsed.rule --timezone Asia/Tokyo",
)
def create(
    *,
    name: Name,
    rule: Rule,
    timezone: Zone = None,
    tenant: options.Tenant = "default",
    json: options.Json = False,
) -> None:
    """Make a segment.

    Workers begin with the past that the archive has, then follow events and
    profiles. `muster segments preview` counts a rule before.
    """
    del json
    from orchestration.operations import segments as operations

    given = operations.read_rule(rule, timezone)
    context = catalog_context()
    _print_made(operations.create(context, tenant, name, given, SESSION.actor))
    _say_what_is_not_there(context, tenant, given)


@command(segments, "list", "muster segments list", "muster segments list --tenant acme --json")
def list_(
    *,
    tenant: options.OfTenant = None,
    json: options.Json = False,
) -> None:
    """List segments, with their sizes."""
    del json
    from orchestration.operations.segments import segment_record
    from orchestration.platform.clock import now_ms
    from schemas.ids import tenant_name

    context = catalog_context()
    found = context.segments.standing(None if tenant is None else tenant_name(tenant))
    records = [segment_record(standing, context.settings.partitions, now_ms()) for standing in found]
    if SESSION.json:
        print_json(records)
        return
    if not records:
        say("There are no segments.")
        return
    print_table(
        ("TENANT", "SEGMENT", "STATE", "MEMBERS", "LAG", "VERSION", "RULE"),
        [
            (
                r["tenant"],
                r["segment"],
                r["state"],
                _members(r),
                _lag(r),
                r["rule_version"],
                shorten(" ".join(r["rule"].split()), WIDTH),
            )
            for r in records
        ],
        right=("MEMBERS",),
    )


@command(segments, "show", "muster segments show buyers", "muster segments show buyers --json")
def show(*, name: Name, tenant: options.Tenant = "default", json: options.Json = False) -> None:
    """Show a segment: its rule, how many are in it, and as of when.

    Of a rule that names audiences also how many of their members are outside:
    without an event or a profile, no rule asks about them.
    """
    del json
    from orchestration.operations import segments as operations
    from orchestration.platform.clock import now_ms

    context = catalog_context()
    standing = operations.find(context, tenant, name)
    record = operations.segment_record(standing, context.settings.partitions, now_ms())
    record["behind"] = operations.behind(context, standing.partitions.values())
    record["outside"] = _outside(context, standing)
    record["of_partitions"] = [operations.partition_record(one) for one in standing.partitions.values()]
    if SESSION.json:
        print_json(record)
        return
    behind = "" if not record["behind"] else f", {number(record['behind'])} records are not taken in yet"
    reported = f"{record['reported']} of {record['partitions']} partitions have reported this version of the rule"
    print_pairs(
        [
            ("segment", f"{record['tenant']}/{record['segment']}"),
            ("state", record["state"]),
            ("rule", " ".join(record["rule"].split())),
            *([("time zone", record["timezone"])] if record["timezone"] else []),
            ("rule version", f"{record['rule_version']}, of {clock_time(standing.rule.created_at_ms)} UTC"),
            ("members", _members(record)),
            *(("outside", text) for text in outside_texts(record["outside"])),
            ("as of", (record["as_of"] or "-") + (f", {_lag(record)} ago" if record["as_of"] else "") + behind),
            ("complete", "yes" if record["complete"] else reported),
        ]
    )


@command(segments, "edit", 'muster segments edit buyers --rule "count(purchase, 30d) >= 3"')
def edit(
    *,
    name: Name,
    rule: Rule,
    timezone: Zone = None,
    tenant: options.Tenant = "default",
    json: options.Json = False,
) -> None:
    """Give a segment another rule.

    Who is in it by one rule and not by the other enters or leaves. The same
    rule in other words changes nothing.
    """
    del json
    from orchestration.operations import segments as operations

    given = operations.read_rule(rule, timezone)
    context = catalog_context()
    made, changed = operations.edit(context, tenant, name, given, SESSION.actor)
    if not changed:
        say("The rule says the same: nothing has changed.")
    _print_made(made)
    _say_what_is_not_there(context, tenant, given)


@command(segments, "pause", "muster segments pause buyers")
def pause(*, name: Name, tenant: options.Tenant = "default", json: options.Json = False) -> None:
    """Evaluate a segment no more: its members stay as they are."""
    del json
    _turn(tenant, name, "pause")


@command(segments, "resume", "muster segments resume buyers")
def resume(*, name: Name, tenant: options.Tenant = "default", json: options.Json = False) -> None:
    """Evaluate a paused segment again: what has changed meanwhile is told then."""
    del json
    _turn(tenant, name, "resume")


@command(segments, "delete", "muster segments delete buyers")
def delete(*, name: Name, tenant: options.Tenant = "default", json: options.Json = False) -> None:
    """Delete a segment: all of its members leave.

    Its rules stay in the catalog. One that another rule names is not deleted.
    """
    del json
    _turn(tenant, name, "delete")


@command(segments, "versions", "muster segments versions buyers")
def versions(*, name: Name, tenant: options.Tenant = "default", json: options.Json = False) -> None:
    """List the rules that a segment has had."""
    del json
    from orchestration.operations import segments as operations

    context = catalog_context()
    found = context.segments.versions(operations.find(context, tenant, name).segment.segment_id)
    if SESSION.json:
        print_json([operations.rule_record_of(version) for version in found])
        return
    print_table(
        ("VERSION", "CREATED", "BY", "ZONE", "RULE"),
        [(v.version, clock_time(v.created_at_ms), v.author, v.timezone or "", " ".join(v.text.split())) for v in found],
    )


def say_unseen(events: Sequence[str], attributes: Sequence[str], mistyped: "Sequence[Mistyped]" = ()) -> None:
    """Names of a rule that may be slips of the pen, and values that it cannot be compared with."""
    for what, names in (("event", events), ("attribute", attributes)):
        for name in names[:UNSEEN_SHOWN]:
            say(f"Note: nobody has ever had the {what} {safe(name)!r}.")
        if len(names) > UNSEEN_SHOWN:
            say(f"Note: nor any of {number(len(names) - UNSEEN_SHOWN)} more {what}s.")
    for one in mistyped[:UNSEEN_SHOWN]:
        say(f"Note: {_mistyped_text(one)}")
    if len(mistyped) > UNSEEN_SHOWN:
        say(f"Note: so it is with {number(len(mistyped) - UNSEEN_SHOWN)} more comparisons.")


def _mistyped_text(one: "Mistyped") -> str:
    """`the rule compares age with a number, and all 300 values of age are text`, and what helps."""
    name, event = safe(one.operand.name), one.operand.event
    of = name if event is None else f"{name} of {safe(event)}"
    total, kind = sum(one.found.values()), "profiles" if event is None else "events"
    what = f"all {number(total)} values of {of} are {TYPE_WORDS[next(iter(one.found))][1]}"
    if len(one.found) > 1:
        counts = ", ".join(f"{number(n)} {TYPE_WORDS[type_][1]}" for type_, n in one.found.items())
        what = f"none of the {number(total)} values of {of} is that: {counts}"
    return (
        f"the rule compares {of} with {TYPE_WORDS[one.operand.type][0]}, and {what}. `muster audiences configure "
        f"_{kind} --column {name}:{one.operand.type}` gives files that are imported from then on that type."
    )


def say_outside(outside: Sequence[dict[str, Any]]) -> None:
    """Members of audiences whom no rule asks about: they vanish from the segment."""
    for one in outside:
        if one["users"]:
            are = "member of {} is" if one["users"] == 1 else "members of {} are"
            say(f"Note: {number(one['users'])} {are.format(one['audience'])} outside (no event, no profile).")


def _say_what_is_not_there(context: "Context", tenant: str, given: "NewRule") -> None:
    """Only where the lake can be asked: the segment has been made."""
    from orchestration.operations.availability import require_services
    from orchestration.operations.segment_queries import outside, unseen
    from schemas.errors import RetriableError, UserError

    try:
        require_services(context.settings, "object store")
        say_unseen(*unseen(context, tenant, given.rule))
        say_outside([one.as_record() for one in outside(context, tenant, given.rule)])
    except (RetriableError, UserError):  # RULE_TOO_BIG
        say("Whether anybody has ever had what the rule names could not be looked up now.")


def _outside(context: "Context", standing: "Standing") -> list[dict[str, Any]] | None:
    """None where it cannot be counted now. Of a rule without audiences nobody is outside."""
    from orchestration.operations.segment_queries import outside
    from schemas.errors import MusterError

    try:
        return [one.as_record() for one in outside(context, standing.segment.tenant, standing.rule.parsed)]
    except MusterError as exc:
        say(f"Note: how many members of its audiences are outside could not be counted now: {exc}")
        return None


def _turn(tenant: str, name: str, what: str) -> None:
    from orchestration.operations.segments import turn

    _print_made(turn(catalog_context(), tenant, name, what))


def _print_made(segment: "Segment") -> None:
    if SESSION.json:
        print_json(
            {
                "tenant": segment.tenant,
                "segment": segment.name,
                "state": segment.state,
                "rule_version": segment.rule_version,
            }
        )
    else:
        print_line(f"segment {segment.name} is {segment.state}, rule version {segment.rule_version}")


def _members(record: dict[str, Any]) -> str:
    return number(record["members"]) + ("" if record["complete"] or record["members"] is None else " so far")


def _lag(record: dict[str, Any]) -> str:
    return "-" if record["lag_s"] is None else duration(record["lag_s"])
