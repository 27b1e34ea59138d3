"""Notes about a rule beside its answer: names that were never seen, values of other types, members outside."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from orchestration.cli.console import print_note
from orchestration.cli.formatting import number, safe
from orchestration.platform.deferred import deferred
from schemas.errors import MusterError, RetriableError, UserError
from schemas.records import as_record

if TYPE_CHECKING:
    from connectors.lake.segment_queries import Mistyped
    from orchestration.catalog.segment_records import NewRule, SegmentOverview
    from orchestration.context import Context

with deferred(__name__):
    from orchestration.kinds import wiring
    from orchestration.operations import availability, segment_queries

TYPE_WORDS: Final = {
    "double": ("a number", "numbers"),
    "string": ("a text", "text"),
    "boolean": ("true or false", "true or false"),
    "date": ("a date", "dates"),
    "timestamp": ("a time", "times"),
}
"""Words for the types of values: singular and plural."""
UNSEEN_SHOWN = 20
"""How many never seen names of either kind are shown: a rule may have a thousand."""


def unseen_notes(
    events: Sequence[str], attributes: Sequence[str], mistyped: "Sequence[Mistyped]" = ()
) -> Iterator[str]:
    """Notes about names in a rule that may be typos, and values that it cannot be compared with."""
    for what, names in (("event", events), ("attribute", attributes)):
        for name in names[:UNSEEN_SHOWN]:
            yield f"Note: no user has ever had the {what} {safe(name)!r}."
        if len(names) > UNSEEN_SHOWN:
            yield f"Note: the same is true of {number(len(names) - UNSEEN_SHOWN)} more {what}s."
    for one in mistyped[:UNSEEN_SHOWN]:
        yield f"Note: {_mistyped_text(one)}"
    if len(mistyped) > UNSEEN_SHOWN:
        yield f"Note: the same is true of {number(len(mistyped) - UNSEEN_SHOWN)} more comparisons."


def _mistyped_text(one: "Mistyped") -> str:
    """`the rule compares age with a number, and all 300 values of age are text`, and the remedy."""
    name, event = safe(one.operand.name), one.operand.event
    label = name if event is None else f"{name} of {safe(event)}"
    total, kind = sum(one.found.values()), "profiles" if event is None else "events"
    what = f"all {number(total)} values of {label} are {TYPE_WORDS[next(iter(one.found))][1]}"
    if len(one.found) > 1:
        counts = ", ".join(f"{number(n)} {TYPE_WORDS[type_][1]}" for type_, n in one.found.items())
        what = f"none of the {number(total)} values of {label} has this type: {counts}"
    return (
        f"the rule compares {label} with {TYPE_WORDS[one.operand.type][0]}, but {what}. `muster audiences configure "
        f"_{kind} --column {name}:{one.operand.type}` sets this type for later imports."
    )


def outside_notes(outside: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Notes about members of audiences that no rule can match: they disappear from the segment."""
    for one in outside:
        if one["users"]:
            verb = "member of {} is" if one["users"] == 1 else "members of {} are"
            yield f"Note: {number(one['users'])} {verb.format(one['audience'])} outside (no event, no profile)."


def rule_notes(context: "Context", tenant: str, given: "NewRule") -> Iterator[str]:
    """Notes about the rule of a new segment. They need the lake; without it, one note says so."""
    try:
        availability.require_services(context.settings, "object store")
        meanings = wiring.meanings(context)
        yield from unseen_notes(*segment_queries.unseen(meanings, tenant, given.rule))
        outside = segment_queries.outside(tenant, given.rule, meanings=lambda: meanings, settings=context.settings)
        yield from outside_notes([as_record(one) for one in outside])
    except (RetriableError, UserError):  # RULE_TOO_BIG
        yield "Note: the events and attributes of the rule could not be looked up in the archive now."


def count_outside(context: "Context", overview: "SegmentOverview") -> list[dict[str, Any]] | None:
    """Members outside, per audience. None if they cannot be counted now; empty for a rule without audiences."""
    try:
        found = segment_queries.outside(
            overview.segment.tenant,
            overview.rule.parsed,
            meanings=lambda: wiring.meanings(context),
            settings=context.settings,
        )
    except MusterError as exc:
        print_note(f"Note: members of its audiences who are outside could not be counted now: {exc}")
        return None
    return [as_record(one) for one in found]
