"""Rules as frozen values: which users of a tenant are in a segment at an instant T.

A rule asks about known users and, in form 2, about members of what it names positively. It requires all of its groups;
a group requires one of its conditions or, negated, none of them. Every condition is true or false for a user, never
unknown, so "not" is the plain opposite: it, `Never`, "at most" and "exactly 0" are true for users with no such event or
value whom the rule asks about, and for no other user. docs/rules.md has the full semantics.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import ClassVar, Final, Literal

from schemas.errors import UserError
from schemas.ids import NAME_PATTERN
from segmentation.expressions.cursor import MAX_TERMS
from segmentation.expressions.nodes import Comparison, OneOf
from segmentation.rules.aggregates import Extreme, Total
from segmentation.rules.days import check_day
from segmentation.rules.events import MAX_WINDOW_S, Events, OnEvents, check_name
from segmentation.rules.relative import AttributeCondition, Between, Distance, compares_days
from segmentation.rules.sequences import Sequence
from segmentation.rules.splits import BUCKETS

MAX_TIMES: Final = 1_000
"""Maximum of a count; one more than this many latest events of a user are kept for a condition."""
MAX_VALUES: Final = 100
"""Maximum of different values; one more are kept for a condition, each with its latest time."""
SPLIT_FORM: Final = "split needs the second form of rules, as in: rule 2: in audience vip and split(winter) < 5"

Quantity = Literal["at_least", "at_most", "exactly"]
Which = Literal["first", "last"]
Bound = Literal["before", "from"]
Kind = Literal["audience", "segment"]
Form = Literal[1, 2]
"""Of a rule: whom it asks about. 1: known users. 2: also members of the audiences and segments named positively."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted(OnEvents):
    """A number of something in T - `within_s` < occurred_at <= T.

    `within_s` is None if the events are between two times, which takes the place of a window.
    """

    quantity: Quantity
    times: int
    within_s: int | None
    most: ClassVar[int]
    what: ClassVar[tuple[str, str]]
    """With an article, and an example."""

    def __post_init__(self) -> None:
        what, example = self.what
        if (self.within_s is None) == (self.events.since is None):
            raise _bad(f"{what} has a window, as in: {example}; or its events are between two times")
        if self.within_s is not None and not 1 <= self.within_s <= MAX_WINDOW_S:
            raise _bad(f"a window is from 1s to 366d, not {self.within_s:,} seconds")
        if not 0 <= self.times <= self.most:
            raise _bad(f"{what} is compared with 0 to {self.most:,} times, not {self.times:,}")
        if self.quantity == "at_least" and self.times == 0:
            raise _bad("at least 0 times is true for everyone; write >= 1, or = 0 for those without such an event")

    @property
    def true_without_events(self) -> bool:
        """See `OnEvents`."""
        return self.quantity == "at_most" or self.times == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Count(_Counted):
    """`count(purchase, 30d) >= 2`: the number of events."""

    most: ClassVar = MAX_TIMES
    what: ClassVar = ("a count", "count(purchase, 30d) >= 2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Distinct(_Counted):
    """`distinct(sku of view, 7d) >= 3`: the number of different values, with their type, of a property.

    `of`: the property. Every copy of an event has a value of its own; NaN is none.
    """

    of: str
    most: ClassVar = MAX_VALUES
    what: ClassVar = ("a number of different values", "distinct(sku of view, 7d) >= 3")

    def __post_init__(self) -> None:
        check_name("property", self.of)
        _Counted.__post_init__(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ever(OnEvents):
    """`ever(purchase)`: there is an event."""

    @property
    def true_without_events(self) -> bool:
        """See `OnEvents`."""
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Never(OnEvents):
    """`never(purchase)`: there is no such event."""

    @property
    def true_without_events(self) -> bool:
        """See `OnEvents`."""
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen(OnEvents):
    """`first(purchase) < 2026-11-01T00:00:00Z`: there is an event, and the first or last one was in this range.

    `before` excludes that moment (UTC), `from` includes it: with whole microseconds nothing else is needed.
    """

    which: Which
    bound: Bound
    moment: datetime

    @property
    def true_without_events(self) -> bool:
        """See `OnEvents`."""
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenNear(OnEvents):
    """`last(visit) over 30d ago`: there is an event, and the first or last one was so far from T, in the past."""

    which: Which
    distance: Distance

    def __post_init__(self) -> None:
        after_s, until_s = self.distance.after_s, self.distance.until_s
        if until_s is None or until_s > 0 or (after_s is None and until_s == 0):
            raise _bad(f"all events have happened: write {self.which}(purchase) in last 7d, 30d..90d ago, over 90d ago")

    @property
    def true_without_events(self) -> bool:
        """See `OnEvents`."""
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """`in audience vip`, `in segment buyers`: the user is a member at T."""

    kind: Kind
    name: str

    def __post_init__(self) -> None:
        _check_short_name(f"{self.kind} name", self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """`split(winter) < 5`: the user's bucket (`splits.bucket`) is one of `begin` to `before` - 1, from either end."""

    name: str
    begin: int
    before: int

    def __post_init__(self) -> None:
        _check_short_name("name of a split", self.name)
        if not (0 <= self.begin < self.before <= BUCKETS and (self.begin == 0) != (self.before == BUCKETS)):
            raise _bad(
                "a split is below or from 0.01 to 99.99 percent, in steps of 0.01, as in: split(winter) < 5; "
                "split(winter) >= 5"
            )


EventCondition = Count | Distinct | Ever | Never | Seen | SeenNear | Total
Part = EventCondition | Sequence | Member | Split | AttributeCondition
RuleCondition = Part | Extreme
"""`AttributeCondition`s apply to an attribute (`column`) in the user's profile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """`age >= 25`, `(age >= 25 or in audience vip)`; negated: `not (age >= 25 or in audience vip)`."""

    conditions: tuple[RuleCondition, ...]
    negated: bool = False

    def __post_init__(self) -> None:
        if not self.conditions:
            raise _bad("a group must have at least one condition")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """All of the groups. `timezone` (IANA): the zone of the dates that timestamps are compared with."""

    groups: tuple[Group, ...]
    timezone: str | None = None
    form: Form = 1

    def __post_init__(self) -> None:
        if not self.groups:
            raise _bad("a rule must have at least one condition")
        if sum(map(_terms, self.conditions)) > MAX_TERMS:
            raise _bad(f"more than {MAX_TERMS} conditions and values")
        if self.form == 1 and any(isinstance(c, Split) for c in self.conditions):
            raise _bad(SPLIT_FORM)
        if self.timezone is None and self.has_dates:
            raise _bad("comparing an attribute with dates or whole days needs a time zone")

    @property
    def conditions(self) -> tuple[RuleCondition, ...]:
        """All conditions, in the order in which they are written."""
        return tuple(condition for group in self.groups for condition in group.conditions)

    @property
    def admits(self) -> tuple[Member, ...]:
        """The memberships whose users the rule asks about, known or not: in form 2, those of groups without "not"."""
        groups = [group for group in self.groups if not group.negated] if self.form > 1 else []
        return tuple(dict.fromkeys(c for group in groups for c in group.conditions if isinstance(c, Member)))

    @property
    def has_dates(self) -> bool:
        """True if the time zone matters."""
        return any(
            not isinstance(c, EventCondition | Extreme | Sequence | Member | Split) and compares_days(c)
            for c in self.conditions
        )


def events_of(condition: RuleCondition) -> tuple[Events, ...]:
    """The events that a condition is about; none if it is about an attribute, a membership or a split."""
    match condition:
        case OnEvents(events=events):
            return (events,)
        case Sequence(steps=steps):
            return tuple(step.events for step in steps)
        case _:
            return ()


def parts_of(condition: RuleCondition) -> tuple[Part, ...]:
    """Conditions that are all true if and only if this one is: what an extreme asks of single events, else itself."""
    if not isinstance(condition, Extreme):
        return (condition,)
    within_s, beyond = condition.within_s, condition.beyond
    if within_s is None:
        return Ever(events=condition.reached), *(() if beyond is None else (Never(events=beyond),))
    there = Count(events=condition.reached, quantity="at_least", times=1, within_s=within_s)
    return there, *(() if beyond is None else (Count(events=beyond, quantity="at_most", times=0, within_s=within_s),))


def check_attribute(condition: AttributeCondition) -> None:
    """Raise `UserError` BAD_RULE for a condition that attributes do not support."""
    check_name("attribute", condition.column)
    match condition:
        case OneOf(type="date", values=values):
            days: tuple[object, ...] = values
        case Comparison(type="date", value=value):
            days = (value,)
        case Between(type="date", low=low, high=high):
            days = low, high
        case _:
            return
    for day in days:
        if isinstance(day, date):
            check_day(day)


def _terms(condition: RuleCondition) -> int:
    match condition:
        case OnEvents() | Sequence():
            return sum(1 + sum(map(_terms, events.where)) for events in events_of(condition))
        case OneOf(values=values):
            return len(values)
        case _:
            return 1


def _check_short_name(what: str, name: str) -> None:
    if not NAME_PATTERN.fullmatch(name):
        raise _bad(
            f"{name[:80]!r} is not a valid {what}: use 1 to 63 of a-z, 0-9, '_' and '-', starting "
            "with a letter or a digit"
        )


def _bad(what: str) -> UserError:
    return UserError("BAD_RULE", what)
