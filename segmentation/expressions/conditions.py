"""Reading one condition on a declared column, checked against the column's type."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, cast

from schemas.columns import ColumnType
from segmentation.expressions.cursor import Cursor, is_reserved
from segmentation.expressions.lexer import Token
from segmentation.expressions.literals import value
from segmentation.expressions.nodes import OPERATORS, Comparison, Condition, OneOf, Operator, Presence, Value

NO_ORDER: Final = ("=", "!=")
NAMES_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class ColumnReader:
    """Reads conditions on these columns. Everything raises `UserError` with the code of the cursor's source."""

    types: Mapping[str, ColumnType]
    timezone: str | None

    def condition(self, cursor: Cursor) -> Condition:
        """One condition."""
        token = cursor.token
        if token.kind not in ("word", "column") or is_reserved(token):
            cursor.refuse("a column, not, or an opening parenthesis")
        cursor.term(token.at)
        cursor.take()
        type_ = self._type(cursor, token)
        if cursor.word("is"):
            present = not cursor.word("not")
            if not cursor.word("set"):
                cursor.refuse("set, as in: email is set, email is not set")
            return Presence(column=token.text, present=present)
        if cursor.word("in"):
            return OneOf(column=token.text, type=type_, values=self._list(cursor, type_))
        operator = _operator(cursor, token, type_)
        return Comparison(column=token.text, type=type_, operator=operator, value=self._value(cursor, type_))

    def _type(self, cursor: Cursor, token: Token) -> ColumnType:
        name = token.text
        if name in self.types:
            return self.types[name]
        near = [known for known in self.types if known.lower() == name.lower()] or get_close_matches(name, self.types)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(list(self.types)[:NAMES_SHOWN])}"
        raise cursor.source.fault(token.at, f"there is no column {name[:80]}; {hint}")

    def _list(self, cursor: Cursor, type_: ColumnType) -> tuple[Value, ...]:
        cursor.expect("(", 'around the values, as in: country in ("JP", "US")')
        values = [self._value(cursor, type_)]
        while cursor.symbol(","):
            cursor.term(cursor.token.at)
            values.append(self._value(cursor, type_))
        cursor.expect(")", "or a comma after a value")
        return tuple(values)

    def _value(self, cursor: Cursor, type_: ColumnType) -> Value:
        token = cursor.token
        if token.kind == "word" and token.text.lower() == "null":
            cursor.refuse("a value; whether there is one is asked with: is set, is not set")
        if token.kind in ("symbol", "end"):
            cursor.refuse("a value")
        return value(cursor.source, cursor.take(), type_, self.timezone)


def _operator(cursor: Cursor, column: Token, type_: ColumnType) -> Operator:
    token = cursor.token
    if token.kind == "word" and token.text.lower() == "not":
        cursor.refuse('an operator; "not in" is written as: not (country in ("JP", "US"))')
    if token.kind != "symbol" or token.text not in OPERATORS:
        cursor.refuse(f"{', '.join(OPERATORS)}, in, or is")
    if type_ == "boolean" and token.text not in NO_ORDER:
        raise cursor.source.fault(token.at, f"{column.text} is true or false, which have no order: use = or !=")
    return cast(Operator, cursor.take().text)
