"""Filters -> the text of an SQL condition, in a dialect, and the values of its parameters.

The text holds quoted names of columns and `?`, never a value. A condition is true or false in SQL too: comparisons
begin with `IS NOT NULL AND`, which, unlike `coalesce`, lets DuckDB compare while it scans.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple, assert_never

from segmentation.expressions.dialects import DUCKDB, Dialect
from segmentation.expressions.literals import micros
from segmentation.expressions.nodes import And, Comparison, Condition, Filter, Not, OneOf, Or, Presence, Value


class BoundSql(NamedTuple):
    """A piece of SQL and the values of its `?`, in order."""

    text: str
    parameters: tuple[object, ...]


def to_sql(tree: Filter, relation: str, dialect: Dialect = DUCKDB) -> BoundSql:
    """The condition on the columns of a relation with this name in the query: true or false, never null."""
    match tree:
        case Not(operand):
            inner = to_sql(operand, relation, dialect)
            return BoundSql(f"(NOT {inner.text})", inner.parameters)
        case And(operands):
            return joined(" AND ", (to_sql(operand, relation, dialect) for operand in operands))
        case Or(operands):
            return joined(" OR ", (to_sql(operand, relation, dialect) for operand in operands))
        case _:
            return condition_sql(tree, relation, dialect)


def condition_sql(condition: Condition, relation: str, dialect: Dialect) -> BoundSql:
    """One condition."""
    name = f"{dialect.identifier(relation)}.{dialect.identifier(condition.column)}"
    match condition:
        case Presence():
            return BoundSql(f"({name} IS {'NOT ' if condition.present else ''}NULL)", ())
        case Comparison():
            values: tuple[Value, ...] = (condition.value,)
            relation_sql = f"{condition.operator} {dialect.parameter(condition.type)}"
        case OneOf():
            values = both_zeros(condition.values)
            relation_sql = f"IN ({', '.join([dialect.parameter(condition.type)] * len(values))})"
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
        return micros(value)
    return value


def joined(word: str, parts: Iterable[BoundSql]) -> BoundSql:
    """The parts in parentheses, separated by a word."""
    parts = list(parts)
    return BoundSql(f"({word.join(part.text for part in parts)})", tuple(p for part in parts for p in part.parameters))
