"""Conditions as frozen values. A condition is true or false for a row, never unknown.

A value that is not there (null), and NaN, are in no relation to anything: every comparison with them is false, also
`!=`. `not` turns true into false and back: `not (age >= 25)` is true for a user without an age.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, get_args

from schemas.columns import ColumnType

Operator = Literal["=", "!=", "<", "<=", ">", ">="]
OPERATORS: tuple[Operator, ...] = get_args(Operator)

Value = str | int | float | bool | date | datetime
"""By the type of the column: string str, long int, double float, boolean bool, date date, timestamp datetime in UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """`age >= 25`. Texts are in the order of their code points, which is that of their bytes; false is before true."""

    column: str
    type: ColumnType
    operator: Operator
    value: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class OneOf:
    """`country in ("JP", "US")`: one `=` or another."""

    column: str
    type: ColumnType
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """`email is set`, `email is not set`: whether there is a value, be it empty or NaN."""

    column: str
    present: bool


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    operand: "Filter"


@dataclass(frozen=True, slots=True)
class And:
    """All of two or more."""

    operands: "tuple[Filter, ...]"


@dataclass(frozen=True, slots=True)
class Or:
    """One of two or more."""

    operands: "tuple[Filter, ...]"


Condition = Comparison | OneOf | Presence
Filter = Condition | Not | And | Or
"""What an export may be restricted by."""
