"""Tests of named values -> filters over typed columns, for both SQL and the streaming evaluator.

A named value has one type, and is in the column of that type: `amount` in `numbers`, `strings` or `booleans`. A
comparison with another type reads a column where the value is missing, and is false.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Final, cast

from schemas.activity_columns import ATTRIBUTE_TYPES
from schemas.columns import ColumnType
from segmentation.expressions.nodes import And, Comparison, Condition, Filter, OneOf, Operator, Or, Presence, Value
from segmentation.rules.days import DAY, FIRST, day, day_of, shifted, years_before
from segmentation.rules.relative import (
    MAX_YEARS,
    Anniversary,
    AttributeCondition,
    Between,
    Distance,
    Near,
    Today,
    TodayComparison,
)

MAPS: Final[dict[ColumnType, str]] = {
    "double": "numbers",
    "string": "strings",
    "boolean": "booleans",
    "date": "dates",
    "timestamp": "timestamps",
}
"""Column of a relation, a map from names to values, by the type of its values. Events have the first three."""

EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
LATEST: Final = datetime.max.replace(tzinfo=UTC)
YEARS: Final = range(1, MAX_YEARS + 1)
ColumnOf = Callable[[str, ColumnType], str]
"""Column of a name's values of a type."""


def typed(test: Condition, types: tuple[ColumnType, ...], column: ColumnOf, timezone: str | None) -> Filter:
    """A test of a value of one of these types. A date is compared with dates, and as a day with timestamps."""
    name = test.column
    match test:
        case Presence(present=present):
            each = tuple(Presence(column=column(name, type_), present=present) for type_ in types)
            return Or(each) if present else And(each)
        case Comparison(type="date", operator=operator, value=value):
            on = _on_day(column(name, "timestamp"), operator, cast(date, value), cast(str, timezone))
            return Or((replace(test, column=column(name, "date")), on))
        case OneOf(type="date", values=values):
            timestamps = column(name, "timestamp")
            on_days = (_on_day(timestamps, "=", cast(date, value), cast(str, timezone)) for value in values)
            return Or((replace(test, column=column(name, "date")), *on_days))
        case _:
            return replace(test, column=column(name, test.type))


def typed_at(test: AttributeCondition, column: ColumnOf, timezone: str | None, at: datetime) -> Filter:
    """A test of an attribute at an instant, from which moments and days relative to it follow."""
    match test:
        case Near():
            return _near(test.column, test.distance, column, timezone, at)
        case TodayComparison(operator=operator, value=value):
            tests = [_compared(test.column, "date", operator, value, timezone, at)]
        case Between(type=type_, low=low, high=high):
            tests = _between(test.column, type_, low, high, timezone, at)
        case Anniversary(column=name, first_day=first, last_day=last):
            today = day_of(at, cast(str, timezone))
            ranges = (_years_ago(years, shifted(today, first), shifted(today, last)) for years in YEARS)
            within = [_between(name, "date", *days, timezone, at) for days in ranges if days is not None]
            return Or(tuple(_all([typed(one, ATTRIBUTE_TYPES, column, timezone) for one in ends]) for ends in within))
        case _:
            return typed(test, ATTRIBUTE_TYPES, column, timezone)
    return _all([typed(one, ATTRIBUTE_TYPES, column, timezone) for one in tests])


def _near(name: str, distance: Distance, column: ColumnOf, timezone: str | None, at: datetime) -> Filter:
    ends: tuple[tuple[Operator, int | None], ...] = (">", distance.after_s), ("<=", distance.until_s)
    timestamps = column(name, "timestamp")
    moments = _all(
        [
            Comparison(column=timestamps, type="timestamp", operator=sign, value=_moved(at, seconds))
            for sign, seconds in ends
            if seconds is not None
        ]
    )
    if not distance.is_of_days:
        return moments
    dates, today = column(name, "date"), day_of(at, cast(str, timezone))
    days = [
        Comparison(column=dates, type="date", operator=sign, value=shifted(today, days))
        for sign, days in distance.day_bounds
    ]
    return Or((_all(days), moments))


def _years_ago(years: int, first: date, last: date) -> tuple[date, date] | None:
    """The days whose anniversary after so many years is in a range; None: before the years that there are."""
    if first.year - years < FIRST.year + 1:
        return None
    return years_before(first, years), years_before(last + DAY, years) - DAY


def _between(
    name: str, type_: ColumnType, low: Value | Today, high: Value | Today, timezone: str | None, at: datetime
) -> list[Comparison]:
    return [_compared(name, type_, ">=", low, timezone, at), _compared(name, type_, "<=", high, timezone, at)]


def _compared(
    name: str, type_: ColumnType, operator: Operator, end: Value | Today, timezone: str | None, at: datetime
) -> Comparison:
    value = shifted(day_of(at, cast(str, timezone)), end.days) if isinstance(end, Today) else end
    return Comparison(column=name, type=type_, operator=operator, value=value)


def _moved(at: datetime, seconds: int) -> datetime:
    """An instant that is some seconds later, or the last or first that there is."""
    try:
        return at + timedelta(seconds=seconds)
    except OverflowError:
        return LATEST if seconds > 0 else EARLIEST


def _all(tests: Sequence[Filter]) -> Filter:
    return tests[0] if len(tests) == 1 else And(tuple(tests))


def _on_day(column: str, operator: Operator, value: date, timezone: str) -> Filter:
    """A comparison of timestamps with a day, which ends just before the next day's first moment."""
    begins, ends = day(value, timezone)

    def timestamps(sign: Operator, moment: datetime) -> Comparison:
        return Comparison(column=column, type="timestamp", operator=sign, value=moment)

    match operator:
        case "<":
            return timestamps("<", begins)
        case "<=":
            return timestamps("<", ends)
        case ">":
            return timestamps(">=", ends)
        case ">=":
            return timestamps(">=", begins)
        case "=":
            return And((timestamps(">=", begins), timestamps("<", ends)))
        case "!=":
            return Or((timestamps("<", begins), timestamps(">=", ends)))
