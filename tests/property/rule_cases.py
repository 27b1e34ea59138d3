"""Random rules over few names and close values, so that conditions are often met."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, get_args

from hypothesis import strategies as st

from schemas.columns import ColumnType
from segmentation.expressions.nodes import Comparison, Condition, OneOf, Operator, Presence
from segmentation.rules.aggregates import Function, Sign, aggregate
from segmentation.rules.events import Events
from segmentation.rules.nodes import (
    Count,
    Distinct,
    Ever,
    Form,
    Group,
    Member,
    Never,
    Quantity,
    Rule,
    RuleCondition,
    Seen,
    SeenNear,
    Split,
)
from segmentation.rules.relative import (
    Anniversary,
    AttributeCondition,
    Between,
    Distance,
    Near,
    Today,
    TodayComparison,
)
from segmentation.rules.sequences import MAX_LATEST, Sequence, Step

NOW = datetime(2026, 11, 1, 4, 30, tzinfo=UTC)
"""Within a day that has 25 hours in New York, and two midnights in Havana."""
ZONES = ("UTC", "America/New_York", "America/Havana", "Asia/Kathmandu", "Pacific/Apia")
EVENTS = ("purchase", "Add to cart", "'; DROP TABLE events; --")
NAMES = ("amount", "amount", "amount", "set", 'a"b', "日本")
TEXTS = ("", "a", "A", "é", "1", "true", "2026-11-01", "' OR 1=1 --")
NUMBERS = (-0.0, 0.0, 1.0, -1.5, 0.1, 5e-324, 2.0**53, 2.0**53 + 2, 1e300)
DAYS = tuple(date(year, 10, 31) + timedelta(days=n) for year in (2026, 2026, 1990, 2025) for n in range(3))
SECONDS = st.sampled_from([1, 3_600, 86_400, 86_401, 172_800, 366 * 86_400])
NEAR = st.builds(
    lambda seconds, micros: NOW + timedelta(seconds=seconds, microseconds=micros),
    st.sampled_from([0, 0, 1, -1, 3_600, -3_600, 86_400, -86_400, -(366 * 86_400)]),
    st.sampled_from([0, 0, 0, 1, -1]),
)
"""Times whose distances are often exactly a window."""

VALUES: dict[ColumnType, st.SearchStrategy[Any]] = {
    "string": st.sampled_from(TEXTS) | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=3),
    "double": st.sampled_from(NUMBERS) | st.floats(allow_nan=False, allow_infinity=False),
    "boolean": st.booleans(),
    "date": st.sampled_from(DAYS),
    "timestamp": NEAR | st.datetimes(timezones=st.just(UTC)),
}
OF_PROPERTIES: tuple[ColumnType, ...] = ("string", "double", "boolean")
SIGNS: tuple[Operator, ...] = ("=", "!=", "<", "<=", ">", ">=")


@st.composite
def tests(draw: st.DrawFn, types: tuple[ColumnType, ...]) -> Condition:
    """One test of a property or an attribute of these types."""
    name, type_, kind = draw(st.sampled_from(NAMES)), draw(st.sampled_from(types)), draw(st.integers(0, 5))
    if kind == 0:
        return Presence(column=name, present=draw(st.booleans()))
    if kind == 1:
        return OneOf(column=name, type=type_, values=tuple(draw(st.lists(VALUES[type_], min_size=1, max_size=3))))
    operator = draw(st.sampled_from(SIGNS[:2] if type_ == "boolean" else SIGNS))
    return Comparison(column=name, type=type_, operator=operator, value=draw(VALUES[type_]))


LENGTHS = st.sampled_from([0, 1, 3_600, 86_400, 86_400, 172_800, 172_801, 366 * 86_400])
"""Distances from now, in seconds, that often are exactly the distance of a value from it."""


@st.composite
def distances(draw: st.DrawFn, *, past: bool = False) -> Distance:
    """How far from now a time is; `past`: no later than it."""
    near, far = sorted((draw(LENGTHS), draw(LENGTHS)))
    kind = "past" if past else draw(st.sampled_from(["past", "past", "next", "moved"]))
    if kind == "moved":  # > now + 1d, <= now - 1d
        end = draw(st.sampled_from([near, -far]))
        after, until = draw(st.sampled_from([(end, None), (None, end)]))
        return Distance(after_s=after, until_s=until)
    if near == far:
        if kind == "past":
            return Distance(after_s=None, until_s=-near) if near else Distance(after_s=-1, until_s=0)
        return Distance(after_s=near, until_s=None)
    return Distance(after_s=-far, until_s=-near) if kind == "past" else Distance(after_s=near, until_s=far)


TODAY = st.builds(Today, days=st.integers(-2, 2) | st.sampled_from([-366, 366]))


@st.composite
def betweens(draw: st.DrawFn, types: tuple[ColumnType, ...]) -> Between:
    """A test of an attribute between two values, or days from today."""
    name, type_ = draw(st.sampled_from(NAMES)), draw(st.sampled_from(types))
    if type_ == "date" and draw(st.booleans()):
        low, high = draw(st.sampled_from([(TODAY, TODAY), (VALUES["date"], TODAY), (TODAY, VALUES["date"])]))
        ends = [draw(low), draw(high)]
        if all(isinstance(end, Today) for end in ends):
            ends.sort(key=lambda end: end.days)
        return Between(column=name, type=type_, low=ends[0], high=ends[1])
    low, high = sorted((draw(VALUES[type_]), draw(VALUES[type_])))
    return Between(column=name, type=type_, low=low, high=high)


@st.composite
def anniversaries(draw: st.DrawFn) -> Anniversary:
    """An anniversary from, or up to, today."""
    days = draw(st.sampled_from([0, 0, 1, 2, 59, 89]))
    first, last = draw(st.sampled_from([(0, days), (-days, 0)]))
    return Anniversary(column=draw(st.sampled_from(NAMES)), first_day=first, last_day=last)


RELATIVE: st.SearchStrategy[AttributeCondition] = st.one_of(
    st.builds(Near, column=st.sampled_from(NAMES), distance=distances()),
    st.builds(Near, column=st.sampled_from(NAMES), distance=distances()),
    st.builds(TodayComparison, column=st.sampled_from(NAMES), operator=st.sampled_from(SIGNS), value=TODAY),
    betweens(("date",)),
    anniversaries(),
)
"""Tests of attributes whose answer time alone changes; some between two dates are not."""

TIMES = st.tuples(NEAR, NEAR).map(sorted).map(lambda ends: (ends[0], ends[1] + timedelta(microseconds=1)))
EVENTS_ASKED = st.builds(
    Events,
    event=st.sampled_from(EVENTS[:1] * 3 + EVENTS),
    where=st.just(()) | st.lists(tests(OF_PROPERTIES), max_size=2).map(tuple),
)
BETWEEN_TIMES = st.builds(lambda events, times: replace(events, since=times[0], before=times[1]), EVENTS_ASKED, TIMES)
COUNTS = st.builds(
    Count,
    events=EVENTS_ASKED,
    quantity=st.sampled_from(["at_least", "at_most", "exactly"]),
    times=st.sampled_from([1, 1, 2, 2, 3, 1_000]),
    within_s=SECONDS,
) | st.builds(
    Count,
    events=EVENTS_ASKED,
    quantity=st.sampled_from(["at_most", "exactly"]),
    times=st.just(0),
    within_s=SECONDS,
)
COUNTS_BETWEEN = st.builds(
    Count,
    events=BETWEEN_TIMES,
    quantity=st.sampled_from(["at_least", "at_most", "exactly"]),
    times=st.sampled_from([1, 1, 2, 3]),
    within_s=st.none(),
)

WINDOWS = st.tuples(EVENTS_ASKED, st.none() | SECONDS) | st.tuples(BETWEEN_TIMES, st.none())
"""Events and a window: of all time, or within, or between two times."""
SIGNS_OF_NUMBERS: tuple[Sign, ...] = get_args(Sign)
COMPARED = st.sampled_from(SIGNS_OF_NUMBERS)
DIFFERENT: list[tuple[Quantity, int]] = [("at_least", 1), ("at_least", 2), ("at_most", 1), ("exactly", 0)]
AMOUNTS = st.sampled_from([0.0, -0.0, 1.0, -1.5, 0.1, 0.05, 2.5, 100.0, 3e11, -9e11])


@st.composite
def aggregates(draw: st.DrawFn) -> RuleCondition:
    """A sum, an average, an extreme, or a number of different values."""
    name, kind = draw(st.sampled_from(NAMES)), draw(st.sampled_from([*get_args(Function), "distinct"]))
    events, within_s = draw(WINDOWS)
    if kind == "distinct":
        quantity, times = draw(st.sampled_from(DIFFERENT))
        window = within_s if events.since else within_s or 3_600
        return Distinct(of=name, events=events, quantity=quantity, times=times, within_s=window)
    return aggregate(
        kind,
        of=name,
        events=events,
        operator=draw(COMPARED),
        value=draw(AMOUNTS | VALUES["double"] if kind in ("min", "max") else AMOUNTS),
        within_s=within_s,
        latest=draw(st.sampled_from([1, 2, 3, MAX_LATEST, MAX_LATEST])),
    )


@st.composite
def sequences(draw: st.DrawFn, *, latest: tuple[int, ...] = (MAX_LATEST,)) -> Sequence:
    """Two or three steps over few events, in seconds and hours, so that ends often meet."""
    unit = draw(st.sampled_from([1, 3_600]))
    number = draw(st.sampled_from([2, 2, 3]))
    negated = draw(st.sampled_from([0, 0, *range(1, number)]))
    steps = [Step(events=draw(EVENTS_ASKED))]
    for at in range(1, number):
        within = draw(st.sampled_from([1, 2, 3, 24]))
        gap = draw(st.sampled_from([0, 0, 0, 1, within - 1]))
        steps.append(
            Step(
                events=draw(EVENTS_ASKED),
                negated=at == negated,
                gap_s=min(gap, within - 1) * unit,
                within_s=within * unit,
            )
        )
    return Sequence(
        steps=tuple(steps),
        same=draw(st.sampled_from([None, None, "amount"])),
        window_s=draw(st.sampled_from([1, 2, 4, 24, 300])) * unit,
        latest=draw(st.sampled_from(latest)),
    )


MEMBERS = st.builds(Member, kind=st.sampled_from(["audience", "segment"]), name=st.sampled_from(["vip", "2026-spring"]))
SPLITS = st.builds(
    lambda name, end, is_first: Split(name=name, begin=0 if is_first else end, before=end if is_first else 10_000),
    st.sampled_from(["winter", "2026-holdout"]),
    st.sampled_from([1, 2_500, 5_000, 5_000, 9_999]),
    st.booleans(),
)
CONDITIONS: st.SearchStrategy[RuleCondition] = st.one_of(
    COUNTS,
    COUNTS,
    st.builds(Ever, events=EVENTS_ASKED),
    st.builds(Never, events=EVENTS_ASKED),
    st.builds(
        Seen,
        which=st.sampled_from(["first", "last"]),
        events=EVENTS_ASKED,
        bound=st.sampled_from(["before", "from"]),
        moment=NEAR,
    ),
    st.builds(
        SeenNear,
        which=st.sampled_from(["first", "last"]),
        events=EVENTS_ASKED,
        distance=distances(past=True),
    ),
    COUNTS_BETWEEN,
    sequences(latest=(2, MAX_LATEST, MAX_LATEST)),
    aggregates(),
    aggregates(),
    st.builds(Ever, events=BETWEEN_TIMES),
    MEMBERS,
    SPLITS,
    RELATIVE,
    betweens(tuple(type_ for type_ in VALUES if type_ != "boolean")),
    tests(tuple(VALUES)),
    tests(("double", "date", "timestamp")),
    tests(("double", "date")),
)


def groups(conditions: st.SearchStrategy[RuleCondition]) -> st.SearchStrategy[Group]:
    """A group of one to three conditions."""
    return st.builds(Group, conditions=st.lists(conditions, min_size=1, max_size=3).map(tuple), negated=st.booleans())


@st.composite
def rules(draw: st.DrawFn, conditions: st.SearchStrategy[RuleCondition] = CONDITIONS) -> Rule:
    """A rule of either form, of one to three groups, some with counts only, and with a zone if it needs one."""
    chosen = draw(st.sampled_from([conditions, conditions, COUNTS]))
    given = tuple(draw(st.lists(groups(chosen), min_size=1, max_size=draw(st.sampled_from([1, 3])))))
    has_split = any(isinstance(condition, Split) for group in given for condition in group.conditions)
    form: Form = 2 if has_split else draw(st.sampled_from([1, 2]))
    rule = Rule(groups=given, timezone=draw(st.sampled_from(ZONES)), form=form)
    return rule if rule.has_dates else replace(rule, timezone=None)


@st.composite
def widened(draw: st.DrawFn) -> Rule:
    """A rule that may be true of users who are only members: nothing but memberships and absence."""
    absence = st.one_of(
        MEMBERS,
        SPLITS,
        st.builds(Never, events=EVENTS_ASKED),
        st.builds(Presence, column=st.sampled_from(NAMES), present=st.just(False)),
    )
    first = Group(conditions=(draw(MEMBERS), *draw(st.lists(absence, max_size=1))))
    return Rule(groups=(first, *draw(st.lists(groups(absence), max_size=2))), form=2)
