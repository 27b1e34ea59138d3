"""Reads the tokens of a text one by one, within limits on its nesting and its number of terms."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

from segmentation.expressions.lexer import Kind, Lexicon, Token, tokens
from segmentation.expressions.source import Source

MAX_DEPTH: Final = 50
MAX_TERMS: Final = 1_000
"""Maximum number of conditions, and of values in lists, together."""


class Cursor:
    """The parser's position in a text. All methods raise `UserError` with the code of the source."""

    def __init__(self, source: Source, lexicon: Lexicon) -> None:
        self.source = source
        self._reserved = lexicon.reserved
        self._tokens = tokens(source, lexicon)
        self._next = 0
        self._depth = 0
        self._terms = 0

    @property
    def token(self) -> Token:
        """The next token."""
        return self._tokens[self._next]

    @property
    def following(self) -> Token:
        """The token after the next one; `end` follows itself."""
        return self._tokens[min(self._next + 1, len(self._tokens) - 1)]

    def take(self) -> Token:
        """Return the next token and advance; `end` is never passed."""
        token = self.token
        if token.kind != "end":
            self._next += 1
        return token

    def symbol(self, text: str) -> bool:
        """Advance past this symbol if it is next."""
        return self._accept("symbol", text)

    def word(self, text: str) -> bool:
        """Advance past this word, in any case, if it is next."""
        return self._accept("word", text)

    def expect(self, symbol: str, why: str) -> None:
        """Advance past this symbol, which must be next."""
        if not self.symbol(symbol):
            self.refuse(f"{symbol!r} {why}")

    def refuse(self, expected: str) -> NoReturn:
        """Raise an error: something else was expected here."""
        raise self.source.fault(self.token.at, f"expected {expected}, not {self.token}")

    def term(self, at: int) -> None:
        """Count one more condition or value."""
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise self.source.fault(at, f"more than {MAX_TERMS} conditions and values")

    @contextmanager
    def deeper(self, at: int) -> Iterator[None]:
        """Enter one level of `not` or parentheses."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self.source.fault(at, f"nested deeper than {MAX_DEPTH} levels of parentheses and not")
        yield
        self._depth -= 1

    def sees(self, kind: Kind, text: str) -> bool:
        """True if this symbol, or this word in any case, is next."""
        return self.token.kind == kind and self.token.text.lower() == text

    def is_reserved(self, token: Token) -> bool:
        """True if a token is a word of the language."""
        return token.kind == "word" and token.text.lower() in self._reserved

    def _accept(self, kind: Kind, text: str) -> bool:
        found = self.sees(kind, text)
        if found:
            self._next += 1
        return found
