"""Rules evaluated by definition, user by user over all history: what stream and SQL must answer."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from segmentation.expressions.nodes import Comparison, Condition, OneOf, Operator, Presence
from segmentation.rules.nodes import Count, Events, Ever, Member, Never, Rule, RuleCondition, Seen

LONG_AGO = datetime.min.replace(tzinfo=UTC)
TYPES = {bool: "boolean", str: "string", float: "double", date: "date", datetime: "timestamp"}
SIGNS: Mapping[Operator, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
Named = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Event:
    user: str
    name: str
    occurred_at: datetime
    id: str
    properties: Named


@dataclass(frozen=True, kw_only=True)
class World:
    events: list[Event]
    profiles: Mapping[str, Named]
    members: set[tuple[str, str, str]]


def holds(test: Condition, given: Named, zone: str | None) -> bool:
    """Naive evaluation of a test on named values."""
    value = given.get(test.column)
    if isinstance(test, Presence):
        return (value is not None) == test.present
    if value is None or value != value:  # noqa: PLR0124  # NaN
        return False
    if isinstance(value, datetime) and test.type == "date":
        value = value.astimezone(ZoneInfo(str(zone))).date()
    if TYPES[type(value)] != test.type:
        return False
    return value in test.values if isinstance(test, OneOf) else SIGNS[test.operator](value, test.value)


def is_true(condition: RuleCondition, user: str, at: datetime, zone: str | None, world: World) -> bool:
    """Naive evaluation of a condition on a user whom the rule is about."""

    def times(of: Events, since: datetime = LONG_AGO) -> list[datetime]:
        found = {
            (event.occurred_at, event.id)
            for event in world.events
            if (event.user, event.name) == (user, of.event) and since < event.occurred_at <= at
            if all(holds(test, event.properties, None) for test in of.where)
        }
        return sorted(moment for moment, _ in found)

    match condition:
        case Count(quantity=quantity, times=n):
            count = len(times(condition.events, at - timedelta(seconds=condition.within_s)))
            return {"at_least": count >= n, "at_most": count <= n, "exactly": count == n}[quantity]
        case Ever() | Never():
            return bool(times(condition.events)) == isinstance(condition, Ever)
        case Seen(which=which, bound=bound, moment=moment):
            seen = times(condition.events)[:1] if which == "first" else times(condition.events)[-1:]
            return any((then < moment) == (bound == "before") for then in seen)
        case Member(kind=kind, name=name):
            return (kind, name, user) in world.members
        case Comparison() | OneOf() | Presence():
            return holds(condition, world.profiles.get(user, {}), zone)


def is_asked(rule: Rule, user: str, world: World, *, known: bool) -> bool:
    """Whether a rule is about a user: in form 2, also if it names an audience or segment of the user positively."""
    named = {(c.kind, c.name) for g in rule.groups if not g.negated for c in g.conditions if isinstance(c, Member)}
    return known or (rule.form == 2 and any((kind, name, user) in world.members for kind, name in named))


def is_in(rule: Rule, user: str, at: datetime, world: World, *, known: bool = True) -> bool:
    """Naive evaluation of a rule on a user."""
    if not is_asked(rule, user, world, known=known):
        return False
    return all(any(is_true(c, user, at, rule.timezone, world) for c in g.conditions) != g.negated for g in rule.groups)
