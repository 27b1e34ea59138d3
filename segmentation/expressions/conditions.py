"""Parses one condition on a declared column, checked against the column's type, or on any other named value."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, cast

from schemas.columns import ColumnType
from segmentation.expressions.cursor import Cursor
from segmentation.expressions.lexer import NO_PATTERNS, Token
from segmentation.expressions.literals import value
from segmentation.expressions.nodes import OPERATORS, Comparison, Condition, OneOf, Operator, Presence, Value

NO_ORDER: Final = ("=", "!=")
NAMES_SHOWN: Final = 20
PATTERNS: Final = frozenset({"like", "ilike", "matches", "regexp", "contains"})


@dataclass(frozen=True, slots=True)
class ColumnReader:
    """Parses conditions on these columns. All methods raise `UserError` with the code of the cursor's source."""

    types: Mapping[str, ColumnType]
    timezone: str | None

    def condition(self, cursor: Cursor) -> Condition:
        """Parse one condition."""
        token = cursor.token
        if token.kind not in ("word", "column") or cursor.is_reserved(token):
            cursor.refuse("a column, not, or an opening parenthesis")
        cursor.term(token.at)
        cursor.take()
        type_ = self._type(cursor, token)
        return ValueReader(lambda _: type_, self.timezone).condition(cursor, token.text)

    def _type(self, cursor: Cursor, token: Token) -> ColumnType:
        name = token.text
        if name in self.types:
            return self.types[name]
        near = [known for known in self.types if known.lower() == name.lower()] or get_close_matches(name, self.types)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(list(self.types)[:NAMES_SHOWN])}"
        raise cursor.source.fault(token.at, f"unknown column {name[:80]}; {hint}")


@dataclass(frozen=True, slots=True)
class ValueReader:
    """Parses what follows a name. `type_of` gives the type to read a token as; it may refuse the token.

    All methods raise `UserError` with the code of the cursor's source.
    """

    type_of: Callable[[Token], ColumnType]
    timezone: str | None

    def condition(self, cursor: Cursor, name: str) -> Condition:
        """Parse one condition on the value of this name; the name has been read."""
        if cursor.word("is"):
            present = not cursor.word("not")
            if not cursor.word("set"):
                cursor.refuse("set, as in: email is set, email is not set")
            return Presence(column=name, present=present)
        if cursor.word("in"):
            return self._one_of(cursor, name)
        return self._comparison(cursor, name)

    def _one_of(self, cursor: Cursor, name: str) -> OneOf:
        cursor.expect("(", 'around the values, as in: country in ("JP", "US")')
        type_ = self._type(cursor)
        values = [self._value(cursor, type_)]
        while cursor.symbol(","):
            cursor.term(cursor.token.at)
            self._expect_value(cursor)
            values.append(self._value(cursor, type_))
        cursor.expect(")", "or a comma after a value")
        return OneOf(column=name, type=type_, values=tuple(values))

    def _comparison(self, cursor: Cursor, name: str) -> Comparison:
        token = cursor.token
        operator = _operator(cursor)
        type_ = self._type(cursor)
        if type_ == "boolean" and operator not in NO_ORDER:
            raise cursor.source.fault(token.at, f"{name[:80]} is boolean, which has no order: use = or !=")
        return Comparison(column=name, type=type_, operator=operator, value=self._value(cursor, type_))

    def _type(self, cursor: Cursor) -> ColumnType:
        self._expect_value(cursor)
        return self.type_of(cursor.token)

    def _expect_value(self, cursor: Cursor) -> None:
        token = cursor.token
        if token.kind == "word" and token.text.lower() == "null":
            cursor.refuse("a value; to test if there is one, write: is set, is not set")
        if token.kind in ("symbol", "end"):
            cursor.refuse("a value")

    def _value(self, cursor: Cursor, type_: ColumnType) -> Value:
        return value(cursor.source, cursor.take(), type_, self.timezone)


def _operator(cursor: Cursor) -> Operator:
    token = cursor.token
    if token.kind == "word" and token.text.lower() == "not":
        cursor.refuse('an operator; "not in" is written as: not (country in ("JP", "US"))')
    if token.kind == "word" and token.text.lower() in PATTERNS:
        cursor.refuse(f"an operator; {NO_PATTERNS}")
    if token.kind != "symbol" or token.text not in OPERATORS:
        cursor.refuse(f"{', '.join(OPERATORS)}, in, or is")
    return cast(Operator, cursor.take().text)
