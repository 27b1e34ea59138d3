"""Tests of named values -> filters over typed columns, for both SQL and the streaming evaluator.

A named value has one type, and is in the column of that type: `amount` in `numbers`, `strings` or `booleans`. A
comparison with another type reads a column where the value is missing, and is false.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from typing import Final, cast

from schemas.columns import ColumnType
from segmentation.expressions.nodes import And, Comparison, Condition, Filter, OneOf, Operator, Or, Presence
from segmentation.rules.days import day

MAPS: Final[dict[ColumnType, str]] = {
    "double": "numbers",
    "string": "strings",
    "boolean": "booleans",
    "date": "dates",
    "timestamp": "timestamps",
}
"""Column of a relation, a map from names to values, by the type of its values. Events have the first three."""

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
