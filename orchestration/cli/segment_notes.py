"""Notes about a rule beside its answer: names that were never seen, values of other types, members outside."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from muster.errors import ApiError
from muster.records import Record
from orchestration.cli.formatting import counted, number, safe

if TYPE_CHECKING:
    from muster.client import Client

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


def unseen_notes(found: Record) -> Iterator[str]:
    """Notes about names in a rule that no user has had, and what to write instead."""
    for what in ("event", "attribute"):
        names = found[f"unseen_{what}s"]
        for name in names[:UNSEEN_SHOWN]:
            yield f"Note: no user has ever had the {what} {safe(name)!r}."
        if len(names) > UNSEEN_SHOWN:
            yield f"Note: the same is true of {number(len(names) - UNSEEN_SHOWN)} more {what}s."
    for one in found["suggestions"][:UNSEEN_SHOWN]:
        yield f"Note: {_suggestion_text(one)}"


def _suggestion_text(one: Record) -> str:
    """`carrier is a property of events such as flight`, and the condition to write."""
    condition, instead = safe(one["condition"]), [f"`{safe(text)}`" for text in one["instead"]]
    if not one["events"]:
        return (
            f"a rule does not list users. Import the ids as an audience, and write {instead[0]} in place of "
            f"`{condition}`."
        )
    events = ", ".join(map(safe, one["events"]))
    return (
        f"{safe(one['attribute'])} is a property of events such as {events}. In place of `{condition}`, write "
        f"{' or '.join(instead)}."
    )


def _mistyped_notes(mistyped: Sequence[Record]) -> Iterator[str]:
    """Notes about values that a rule cannot be compared with."""
    for one in mistyped[:UNSEEN_SHOWN]:
        yield f"Note: {_mistyped_text(one)}"
    if len(mistyped) > UNSEEN_SHOWN:
        yield f"Note: the same is true of {number(len(mistyped) - UNSEEN_SHOWN)} more comparisons."


def _mistyped_text(one: Record) -> str:
    """`the rule compares age with a number, and all 300 values of age are text`, and the remedy."""
    name, event, type_, of_types = safe(one["name"]), one["event"], one["compared_as"], one["values"]
    label = name if event is None else f"{name} of {safe(event)}"
    total, kind = sum(of_types.values()), "profiles" if event is None else "events"
    what = f"all {number(total)} values of {label} are {TYPE_WORDS[next(iter(of_types))][1]}"
    if len(of_types) > 1:
        counts = ", ".join(f"{number(n)} {TYPE_WORDS[of][1]}" for of, n in of_types.items())
        what = f"none of the {number(total)} values of {label} has this type: {counts}"
    return (
        f"the rule compares {label} with {TYPE_WORDS[type_][0]}, but {what}. `muster audiences configure "
        f"_{kind} --column {name}:{type_}` sets this type for later imports."
    )


def outside_notes(outside: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Notes about members of audiences that no rule can match: they disappear from the segment."""
    for one in outside:
        if one["users"]:
            verb = "member of {} is" if one["users"] == 1 else "members of {} are"
            yield f"Note: {number(one['users'])} {verb.format(one['audience'])} outside (no event, no profile)."


def only_by_notes(known_only_by: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Notes about members whom only audiences know."""
    for one in known_only_by:
        if one["users"]:
            users = f"{counted(one['users'], 'user')} {'is' if one['users'] == 1 else 'are'}"
            yield f"Note: {users} known only by audience {one['audience']} (no event, no profile)."


def count_notes(found: Record) -> Iterator[str]:
    """Notes about a rule that was counted with its notes."""
    yield from unseen_notes(found)
    yield from _mistyped_notes(found["mistyped"] or ())
    yield from outside_notes(found["outside"] or ())
    yield from only_by_notes(found["known_only_by"] or ())


def rule_notes(found: "Client", tenant: str, rule: str, timezone: str | None) -> list[str]:
    """Notes about the rule of a new segment. They need the lake; without it, one note says so."""
    try:
        return list(count_notes(found.count(tenant, rule, timezone=timezone, notes=True)))
    except ApiError:  # an outage, RULE_TOO_BIG
        return ["Note: the events and attributes of the rule could not be looked up in the archive now."]
