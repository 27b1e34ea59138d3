"""Rules evaluated by definition, user by user over all history: what stream and SQL must answer."""

import operator
from calendar import isleap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from hashlib import sha256
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from segmentation.expressions.nodes import Comparison, Condition, OneOf, Operator, Presence
from segmentation.rules.aggregates import Extreme, Total
from segmentation.rules.events import Events
from segmentation.rules.nodes import Count, Distinct, Ever, Member, Never, Rule, RuleCondition, Seen, SeenNear, Split
from segmentation.rules.relative import (
    Anniversary,
    AttributeCondition,
    Between,
    Distance,
    Near,
    Today,
    TodayComparison,
)
from segmentation.rules.sequences import Sequence, Step

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
Aggregate = Total | Extreme | Distinct


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


def is_near(distance: Distance, value: Any, at: datetime, zone: str | None) -> bool:
    """Whether a time is so far from now; of a date, whether its day is, counting today among past and coming days."""
    if type(value) is datetime:
        after, until = (None if s is None else at + timedelta(seconds=s) for s in (distance.after_s, distance.until_s))
        return (after is None or after < value) and (until is None or value <= until)
    after_d, until_d = (None if s is None else s / 86_400 for s in (distance.after_s, distance.until_s))
    if type(value) is not date or any(days is not None and days % 1 for days in (after_d, until_d)):
        return False
    days = (value - today_in(zone, at)).days
    late_enough = after_d is None or (days > after_d if after_d < 0 else days >= after_d)
    return late_enough and (until_d is None or (days < until_d if until_d > 0 else days <= until_d))


def today_in(zone: str | None, at: datetime) -> date:
    return at.astimezone(ZoneInfo(str(zone))).date()


def years_later(day: date, years: int) -> date:
    leap = (day.month, day.day) == (2, 29) and not isleap(day.year + years)
    return date(day.year + years, day.month, 28 if leap else day.day)


def is_relatively(test: AttributeCondition, given: Named, at: datetime, zone: str | None) -> bool:
    """Naive evaluation of a test of an attribute at an instant."""
    value = given.get(test.column)
    match test:
        case Near(distance=distance):
            return is_near(distance, value, at, zone)
        case TodayComparison(column=name, operator=sign, value=today):
            end = today_in(zone, at) + timedelta(days=today.days)
            return holds(Comparison(column=name, type="date", operator=sign, value=end), given, zone)
        case Between(column=name, type=type_, low=low, high=high):
            ends = [
                today_in(zone, at) + timedelta(days=end.days) if isinstance(end, Today) else end for end in (low, high)
            ]
            signs: tuple[Operator, Operator] = (">=", "<=")
            each = (
                Comparison(column=name, type=type_, operator=sign, value=end)
                for sign, end in zip(signs, ends, strict=True)
            )
            return all(holds(one, given, zone) for one in each)
        case Anniversary(first_day=first, last_day=last):
            day = today_in(zone, value) if type(value) is datetime else value
            if type(day) is not date:
                return False
            at_last = min(150, 9999 - day.year)
            return any(first <= (years_later(day, n) - today_in(zone, at)).days <= last for n in range(1, at_last + 1))
        case _:
            return holds(test, given, zone)


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


def followed(sequence: Sequence, user: str, at: datetime, world: World) -> bool:
    """Naive evaluation of a sequence, by definition, over all history."""

    def moments(step: Step) -> set[tuple[datetime, Any]]:
        """Of a step, with the value of `same`: equal are those of one type."""
        found: set[tuple[datetime, Any]] = set()
        for event in _events(step.events, user, at, world):
            value = None if sequence.same is None else event.properties.get(sequence.same)
            if sequence.same is None:
                found.add((event.occurred_at, None))
            elif value is not None and value == value:  # noqa: PLR0124  # not NaN
                found.add((event.occurred_at, (type(value), value)))
        return found

    def counted(number: int, value: Any) -> set[datetime]:
        found = moments(sequence.steps[number])
        plain_first = number == 0 and not sequence.steps[1].negated
        if sequence.same is not None or not (plain_first or sequence.steps[number].negated):
            found = {one for one in found if sum(other[0] >= one[0] for other in found) <= sequence.latest}
        return {moment for moment, of in found if of == value}

    def follows(step: Step, before: Step, then: datetime, moment: datetime) -> bool:
        ties = step.gap_s == 0 and not before.negated and step.events.event != before.events.event
        nearest, farthest = then + timedelta(seconds=step.gap_s), then + timedelta(seconds=step.within_s)
        return (nearest < moment <= farthest) or (ties and moment == then)

    values = {value for step in sequence.steps for _, value in moments(step)}
    for value in values:
        reached = counted(0, value)
        for number, (before, step) in enumerate(pairwise(sequence.steps), start=1):
            later = counted(number, value)
            if step.negated:
                ends = {then: then + timedelta(seconds=step.within_s) for then in reached}
                reached = {
                    end
                    for then, end in ends.items()
                    if end <= at and not any(follows(step, before, then, moment) for moment in later)
                }
            else:
                reached = {moment for moment in later if any(follows(step, before, then, moment) for then in reached)}
        if any(at - timedelta(seconds=sequence.window_s) < moment <= at for moment in reached):
            return True
    return False


def aggregated(condition: Aggregate, user: str, at: datetime, world: World) -> bool:
    """Naive evaluation of an aggregate, by definition, over all history."""
    since = LONG_AGO if condition.within_s is None else at - timedelta(seconds=condition.within_s)
    found = [event for event in _events(condition.events, user, at, world) if event.occurred_at > since]
    values = [(event, event.properties.get(condition.of)) for event in found]
    values = [(event, value) for event, value in values if value is not None and value == value]  # noqa: PLR0124  # NaN
    if isinstance(condition, Distinct):
        count, n = len({(type(value), value) for _, value in values}), condition.times
        return {"at_least": count >= n, "at_most": count <= n, "exactly": count == n}[condition.quantity]
    numbers = [(event, value) for event, value in values if type(value) is float]
    sign = SIGNS[condition.operator]
    if isinstance(condition, Extreme):
        extreme = max if condition.function == "max" else min
        return bool(numbers) and sign(extreme(value for _, value in numbers), condition.value)
    of_event: dict[tuple[datetime, str], int] = {}
    for event, value in numbers:
        if abs(value) <= 9e11:
            steps = int(Decimal(value * 10_000).quantize(Decimal(1), ROUND_HALF_UP))
            key = (event.occurred_at, event.id)
            of_event[key] = max(steps, of_event.get(key, steps))
    latest = [n for (then, _), n in of_event.items() if sum(other >= then for other, _ in of_event) <= condition.latest]
    asked = Fraction(repr(condition.value)) * 10_000
    if condition.function == "sum":
        return sign(sum(latest), asked)
    return bool(latest) and sign(Fraction(sum(latest), len(latest)), asked)


def _events(of: Events, user: str, at: datetime, world: World) -> list[Event]:
    return [
        event
        for event in world.events
        if (event.user, event.name) == (user, of.event) and event.occurred_at <= at
        if all(holds(test, event.properties, None) for test in of.where)
        if of.since is None or of.before is None or of.since <= event.occurred_at < of.before
    ]


def is_true(condition: RuleCondition, user: str, at: datetime, zone: str | None, world: World) -> bool:
    """Naive evaluation of a condition on a user whom the rule is about."""

    def times(of: Events, since: datetime = LONG_AGO) -> list[datetime]:
        found = {(event.occurred_at, event.id) for event in _events(of, user, at, world) if event.occurred_at > since}
        return sorted(moment for moment, _ in found)

    match condition:
        case Count(quantity=quantity, times=n):
            within_s = condition.within_s
            count = len(times(condition.events, LONG_AGO if within_s is None else at - timedelta(seconds=within_s)))
            return {"at_least": count >= n, "at_most": count <= n, "exactly": count == n}[quantity]
        case Ever() | Never():
            return bool(times(condition.events)) == isinstance(condition, Ever)
        case Seen(which=which, bound=bound, moment=moment):
            seen = times(condition.events)[:1] if which == "first" else times(condition.events)[-1:]
            return any((then < moment) == (bound == "before") for then in seen)
        case SeenNear(which=which, distance=distance):
            seen = times(condition.events)[:1] if which == "first" else times(condition.events)[-1:]
            return any(is_near(distance, then, at, zone) for then in seen)
        case Total() | Extreme() | Distinct() | Member() | Split() | Sequence():
            return is_of(condition, user, at, world)
        case _:
            return is_relatively(condition, world.profiles.get(user, {}), at, zone)


def is_of(condition: Aggregate | Member | Split | Sequence, user: str, at: datetime, world: World) -> bool:
    """Whether a user is a member, in this part of a split, or has done what an aggregate or a sequence says."""
    if isinstance(condition, Aggregate):
        return aggregated(condition, user, at, world)
    if isinstance(condition, Sequence):
        return followed(condition, user, at, world)
    if isinstance(condition, Member):
        return (condition.kind, condition.name, user) in world.members
    place = int(sha256(f"{condition.name}:{user}".encode()).hexdigest()[:13], 16) % 10_000
    return condition.begin <= place < condition.before


def is_asked(rule: Rule, user: str, world: World, *, known: bool) -> bool:
    """Whether a rule is about a user: in form 2, also if it names an audience or segment of the user positively."""
    named = {(c.kind, c.name) for g in rule.groups if not g.negated for c in g.conditions if isinstance(c, Member)}
    return known or (rule.form == 2 and any((kind, name, user) in world.members for kind, name in named))


def is_in(rule: Rule, user: str, at: datetime, world: World, *, known: bool = True) -> bool:
    """Naive evaluation of a rule on a user."""
    if not is_asked(rule, user, world, known=known):
        return False
    return all(any(is_true(c, user, at, rule.timezone, world) for c in g.conditions) != g.negated for g in rule.groups)
