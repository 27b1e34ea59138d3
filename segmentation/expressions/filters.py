"""Export filters: a restricted expression over the declared columns, parsed from text and checked against them.

expression = all { "or" all }
all        = one { "and" one }
one        = "not" one | "(" expression ")" | condition
condition  = column operator value | column "in" "(" value { "," value } ")" | column "is" ["not"] "set"

docs/filters.md explains the language, `nodes` its semantics.
"""

from schemas.columns import USER_ID, ColumnType, RowSchema
from segmentation.expressions.conditions import ColumnReader
from segmentation.expressions.cursor import Cursor
from segmentation.expressions.lexer import FILTERS
from segmentation.expressions.nodes import And, Filter, Not, Or
from segmentation.expressions.source import Source


def parse_filter(text: str, schema: RowSchema, *, timezone: str | None = None) -> Filter:
    """Parse a filter. `timezone` (IANA) applies to dates and to timestamps written without an offset.

    Raises `UserError` BAD_FILTER, with `position` (from 1) and `marked` (the line and a caret) in its detail, and
    BAD_TIMEZONE.
    """
    source = Source(text=text, code="BAD_FILTER")
    types: dict[str, ColumnType] = {USER_ID: "string", **{c.name: c.type for c in schema.columns}}
    cursor = Cursor(source, FILTERS)
    found = _any(cursor, ColumnReader(types, timezone))
    if cursor.token.kind != "end":
        cursor.refuse("and, or, or the end")
    return found


def _any(cursor: Cursor, columns: ColumnReader) -> Filter:
    operands = [_all(cursor, columns)]
    while cursor.word("or"):
        operands.append(_all(cursor, columns))
    return operands[0] if len(operands) == 1 else Or(tuple(operands))


def _all(cursor: Cursor, columns: ColumnReader) -> Filter:
    operands = [_one(cursor, columns)]
    while cursor.word("and"):
        operands.append(_one(cursor, columns))
    return operands[0] if len(operands) == 1 else And(tuple(operands))


def _one(cursor: Cursor, columns: ColumnReader) -> Filter:
    at = cursor.token.at
    if cursor.word("not"):
        with cursor.deeper(at):
            return Not(_one(cursor, columns))
    if cursor.symbol("("):
        with cursor.deeper(at):
            inner = _any(cursor, columns)
            cursor.expect(")", f"for the one opened at character {at + 1}")
            return inner
    return columns.condition(cursor)
