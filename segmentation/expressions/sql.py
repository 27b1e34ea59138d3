"""Filters -> the text of an SQL condition (DuckDB's dialect) and the values of its parameters.

The text holds quoted names of columns and `?`, never a value. A condition is true or false in SQL too: comparisons
begin with `IS NOT NULL AND`, which, unlike `coalesce`, lets DuckDB compare while it scans.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, NamedTuple, assert_never

from schemas.columns import ColumnType
from schemas.sql_text import identifier
from segmentation.expressions.literals import EPOCH
from segmentation.expressions.nodes import And, Comparison, Condition, Filter, Not, OneOf, Or, Presence, Value

PARAMETERS: Final[dict[ColumnType, str]] = {
    "string": "CAST(? AS VARCHAR)",
    "long": "CAST(? AS BIGINT)",
    "double": "CAST(? AS DOUBLE)",
    "boolean": "CAST(? AS BOOLEAN)",
    "date": "CAST(? AS DATE)",
    "timestamp": "make_timestamptz(CAST(? AS BIGINT))",  # not a text, which a session's zone could change
}


class BoundSql(NamedTuple):
    """A piece of SQL and the values of its `?`, in order."""

    text: str
    parameters: tuple[object, ...]


def to_sql(tree: Filter, relation: str) -> BoundSql:
    """The condition on the columns of a relation with this name in the query: true or false, never null."""
    match tree:
        case Not(operand):
            inner = to_sql(operand, relation)
            return BoundSql(f"(NOT {inner.text})", inner.parameters)
        case And(operands):
            return joined(" AND ", (to_sql(operand, relation) for operand in operands))
        case Or(operands):
            return joined(" OR ", (to_sql(operand, relation) for operand in operands))
        case _:
            return condition_sql(tree, relation)


def condition_sql(condition: Condition, relation: str) -> BoundSql:
    """One condition."""
    name = f"{identifier(relation)}.{identifier(condition.column)}"
    match condition:
        case Presence():
            return BoundSql(f"({name} IS {'NOT ' if condition.present else ''}NULL)", ())
        case Comparison():
            values: tuple[Value, ...] = (condition.value,)
            relation_sql = f"{condition.operator} {PARAMETERS[condition.type]}"
        case OneOf():
            values = both_zeros(condition.values)
            relation_sql = f"IN ({', '.join([PARAMETERS[condition.type]] * len(values))})"
        case _:
            assert_never(condition)
    is_set = f"{name} IS NOT NULL" + (f" AND NOT isnan({name})" if condition.type == "double" else "")
    return BoundSql(f"({is_set} AND {name} {relation_sql})", tuple(parameter(v) for v in values))


def both_zeros(values: tuple[Value, ...]) -> tuple[Value, ...]:
    """The values of a list; a zero is named with both its signs, which are one value.

    DuckDB leaves a list to the scan where it can, and Arrow's `is_in` takes 0.0 and -0.0 for two.
    """
    signs = (0.0, -0.0)
    return tuple(v for value in values for v in (signs if isinstance(value, float) and value == 0 else (value,)))


def parameter(value: Value) -> object:
    """A value as bound: a timestamp as microseconds since 1970."""
    if isinstance(value, datetime):
        return (value - EPOCH) // timedelta(microseconds=1)
    return value


def joined(word: str, parts: Iterable[BoundSql]) -> BoundSql:
    """The parts in parentheses, separated by a word."""
    parts = list(parts)
    return BoundSql(f"({word.join(part.text for part in parts)})", tuple(p for part in parts for p in part.parameters))
