"""Conditions to write in place of one that finds no user: on a property of events, or by user id."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from schemas.columns import USER_ID
from segmentation.expressions.literals import literal
from segmentation.expressions.nodes import Comparison, Condition, OneOf, Presence
from segmentation.rules.events import Events
from segmentation.rules.nodes import Count, Ever, Member, Never, Rule, RuleCondition
from segmentation.rules.printer import rule_condition_text

EVENTS_NAMED: Final = 3
WINDOW_S: Final = 30 * 24 * 60 * 60
_BY_ID: Final[tuple[RuleCondition, ...]] = (Member(kind="audience", name="chosen-users"),)
"""Rules list no users: their ids are imported as an audience, for instance of this name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSuggestion:
    """A condition on an attribute that no user has, and conditions to write instead.

    `events`: up to three events with a property of that name, the most frequent first; `instead` is about the first of
    them, at any time and in a window. Of the attribute `user_id`: the audience to import the ids as.
    """

    attribute: str
    condition: str
    events: tuple[str, ...]
    instead: tuple[str, ...]


def suggestions(
    rule: Rule, unseen: Collection[str], events_with: Mapping[str, Sequence[str]]
) -> Iterator[RuleSuggestion]:
    """What to write instead of the rule's conditions on attributes that no user has, each once.

    `events_with`: by name, the events that have a property of that name.
    """
    for test in dict.fromkeys(rule.conditions):
        if not isinstance(test, Comparison | OneOf | Presence) or test.column not in unseen:
            continue
        events = tuple(events_with.get(test.column, ())[:EVENTS_NAMED])
        if test.column.lower() == USER_ID:
            events, instead = (), _BY_ID
        elif events:
            instead = _on_event(test, events[0])
        else:
            continue
        yield RuleSuggestion(
            attribute=test.column,
            condition=rule_condition_text(test),
            events=events,
            instead=tuple(map(rule_condition_text, instead)),
        )


def _on_event(test: Condition, event: str) -> tuple[RuleCondition, ...]:
    """The condition on a property of an event: at any time, and in a window."""
    if isinstance(test, Presence) and not test.present:
        without = Events(event=event, where=(replace(test, present=True),))
        return Never(events=without), Count(events=without, quantity="exactly", times=0, within_s=WINDOW_S)
    events = Events(event=event, where=(_of_property(test),))
    return Ever(events=events), Count(events=events, quantity="at_least", times=1, within_s=WINDOW_S)


def _of_property(test: Condition) -> Condition:
    """Properties have no dates: they are texts."""
    match test:
        case Comparison(type="date" | "timestamp", value=value):
            return replace(test, type="string", value=literal(value))
        case OneOf(type="date" | "timestamp", values=values):
            return replace(test, type="string", values=tuple(map(literal, values)))
        case _:
            return test
