"""Text -> tokens. Strings are written as in JSON, columns plain or in backquotes, dates without quotes."""

import json
import re
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, cast

from segmentation.expressions.source import Source

Kind = Literal["word", "column", "string", "number", "date", "timestamp", "duration", "colon", "symbol", "end"]

RESERVED: Final = frozenset({"and", "or", "not", "in", "is", "set", "true", "false", "null"})
"""Words of the language, in any case; a column with such a name is written in backquotes."""
MAX_NUMBER_CHARACTERS: Final = 400
"""More than any double needs, less than Python refuses to convert."""
UNTYPED: Final = "write a date as 2026-11-01, a timestamp as 2026-11-01T09:00:00Z or with an offset such as +09:00"
NO_PATTERNS: Final = 'patterns are not supported: write = or in ("JP", "US")'


def pattern(*, word: str, symbols: str = "", more: str = "") -> re.Pattern[str]:
    """Tokens of a language: `word` is the pattern of its names; `symbols` and `more` hold alternatives, tried last."""
    return re.compile(
        rf"""
        (?P<blank>[ \t\r\n]+)
      | (?P<string>"(?:[^"\\\x00-\x1f]|\\[^\x00-\x1f])*")
      | (?P<column>`[A-Za-z][A-Za-z0-9_]*`)
      | (?P<word>{word})
      | (?P<moment>[0-9]+-[0-9][0-9A-Za-z:.+-]*)
      | (?P<number>-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![0-9A-Za-z_.]))
      | (?P<symbol><=|>=|!=|=|<|>|\(|\)|,{symbols})
      {more}
        """,
        re.VERBOSE,
    )


DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
TIMESTAMP: Final = re.compile(
    rf"{DATE.pattern}T[0-9]{{2}}:[0-9]{{2}}(?::[0-9]{{2}}(?:\.[0-9]{{1,6}})?)?(?:Z|[+-][0-9]{{2}}:[0-9]{{2}})?"
)
HINTS: Final = {
    "'": 'a text is written in double quotes: "JP"',
    '"': "this text is not closed, or has a line end or control character in it (written as \\n or \\u001f)",
    "`": "a column in backquotes is a letter, then letters, digits and '_'",
    "&": "write and",
    "|": "write or",
    "!": "write !=, or not in front of a condition",
    "~": NO_PATTERNS,
    **dict.fromkeys("0123456789.+-", f"this is not a number; {UNTYPED}"),
}


class Lexicon(NamedTuple):
    """The lexicon of a language: its tokens, and its reserved names, in any case."""

    token: re.Pattern[str]
    reserved: frozenset[str]


FILTERS: Final = Lexicon(pattern(word="[A-Za-z_][A-Za-z0-9_]*"), RESERVED)


@dataclass(frozen=True, slots=True)
class Token:
    """`text` is the word or symbol as written, the name of a column, or the value of a string; `at` is its index."""

    kind: Kind
    text: str
    at: int

    def __str__(self) -> str:
        return "the end" if self.kind == "end" else repr(self.text[:80])


def tokens(source: Source, lexicon: Lexicon) -> list[Token]:
    """The tokens; the last one is `end`. Raises `UserError` with the code of the source."""
    found: list[Token] = []
    text, at = source.text, 0
    while at < len(text):
        match = lexicon.token.match(text, at)
        if match is None:
            raise source.fault(at, _unexpected(text[at]))
        if match.lastgroup != "blank":
            found.append(_token(source, match))
        at = match.end()
    found.append(Token("end", "", len(text)))
    return found


def string(text: str) -> str:
    """A string as a token, which `tokens` reads as the same string."""
    return json.dumps(text, ensure_ascii=False)


def _token(source: Source, match: re.Match[str]) -> Token:
    kind, text, at = cast(Kind, match.lastgroup), match.group(), match.start()
    match match.lastgroup:
        case "column":
            text = text[1:-1]
        case "string":
            text = _value(source, text, at)
        case "moment":
            kind = "date" if DATE.fullmatch(text) else "timestamp"
            if kind == "timestamp" and not TIMESTAMP.fullmatch(text):
                raise source.fault(at, UNTYPED)
        case "number" if len(text) > MAX_NUMBER_CHARACTERS:
            raise source.fault(at, f"a number has at most {MAX_NUMBER_CHARACTERS} characters")
    return Token(kind, text, at)


def _value(source: Source, quoted: str, at: int) -> str:
    try:
        text: str = json.loads(quoted)
    except json.JSONDecodeError as exc:
        raise source.fault(at + exc.pos, "escapes are those of JSON") from exc
    if "\0" in text:
        raise source.fault(at, "this text has a NUL character, which no value has")
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise source.fault(at, "this text has half of a surrogate pair, which no value has")
    return text


def _unexpected(character: str) -> str:
    if character in HINTS:
        return HINTS[character]
    shown = f"{character!r} " if character.isprintable() else ""
    return f"{shown}(U+{ord(character):04X}) has no meaning outside of a text in double quotes"
