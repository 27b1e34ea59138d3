"""Conditions as frozen values. A condition is true or false for a row, never unknown.

A missing value (null) and NaN compare with nothing: every comparison with them is false, even `!=`. `not` swaps true
and false: `not (age >= 25)` is true for a user without an age.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, get_args

from schemas.columns import ColumnType

Operator = Literal["=", "!=", "<", "<=", ">", ">="]
OPERATORS: tuple[Operator, ...] = get_args(Operator)

Value = str | int | float | bool | date | datetime
"""By column type: string str, long int, double float, boolean bool, date date, timestamp datetime in UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """`age >= 25`. Texts are ordered by code points, which is the order of their bytes; false is before true."""

    column: str
    type: ColumnType
    operator: Operator
    value: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class OneOf:
    """`country in ("JP", "US")`: equal to one of the values."""

    column: str
    type: ColumnType
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """`email is set`, `email is not set`: True if there is a value, even an empty one or NaN."""

    column: str
    present: bool


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    operand: "Filter"


@dataclass(frozen=True, slots=True)
class And:
    """All of two or more operands."""

    operands: "tuple[Filter, ...]"


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of two or more operands."""

    operands: "tuple[Filter, ...]"


Condition = Comparison | OneOf | Presence
Filter = Condition | Not | And | Or
"""A filter of an export."""
