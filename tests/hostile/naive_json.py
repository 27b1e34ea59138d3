"""docs/file-formats.md again for a line of JSON: RFC 8259 by our own recursive reader, without Python's decoder.

Numbers keep their text, so that nothing is rounded before it is judged.
"""

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from tests.hostile.naive_csv import BOM, Reading, Refusal
from tests.hostile.naive_values import Unclear, Wrong, value_of
from tests.hostile.twin import WANTED

DEPTH: Final = 200
"""Sound lines here are less deep; the ones that are too deep exceed it by thousands."""
NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
TEXT: Final = re.compile(r'"((?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*)"')
ESCAPE: Final = re.compile(r"\\(?:u([dD][89abAB]..)\\u([dD][c-fC-F]..)|u(....)|(.))")
PLAIN: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
LONGEST_NUMBER: Final = 4300


class Odd(Exception):  # noqa: N818  # an outcome
    """Why the line is not a row."""


@dataclass(frozen=True)
class Number:
    text: str

    @property
    def whole(self) -> bool:
        return not any(c in self.text for c in ".eE")


@lru_cache(1 << 12)  # the files of the tests are mostly the same clean lines
def line_outcome(line: bytes) -> tuple[tuple[Any, ...] | str, bool | None]:
    """Values of the row as in `twin.values`, or its reject code; and whether the object has an id. None: no object."""
    has_id: bool | None = None
    try:
        members = _members(line)
        has_id = "user_id" in members
        return _row(members), has_id
    except Odd as odd:
        return str(odd), has_id
    except Unclear:
        return "no_timezone", has_id
    except Wrong:
        return "bad_value", has_id


def _members(line: bytes) -> dict[str, Any]:
    if not line.strip(b" \t\r"):
        raise Odd("blank_line")
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise Odd("invalid_utf8") from None
    value, end = _value(text, _space(text, 0), 0)
    if _space(text, end) != len(text):
        raise Odd("bad_json")
    if not isinstance(value, dict):
        raise Odd("not_an_object")
    return value


def _space(text: str, at: int) -> int:
    while text[at : at + 1] in (" ", "\t", "\r", "\n"):
        at += 1
    return at


def _value(text: str, at: int, depth: int) -> tuple[Any, int]:
    if depth > DEPTH:
        raise Odd("too_deep")
    for word, value in (("true", True), ("false", False), ("null", None)):
        if text.startswith(word, at):
            return value, at + len(word)
    if text.startswith('"', at):
        return _text(text, at)
    if found := NUMBER.match(text, at):
        if len(found[1]) > LONGEST_NUMBER and not (found[2] or found[3]):
            raise Odd("bad_json")
        return Number(found[0]), found.end()
    if text.startswith("{", at):
        return _object(text, at, depth)
    if text.startswith("[", at):
        return _array(text, at, depth)
    raise Odd("bad_json")


def _text(text: str, at: int) -> tuple[str, int]:
    if not (found := TEXT.match(text, at)):
        raise Odd("bad_json")
    return ESCAPE.sub(_unescaped, found[1]), found.end()


def _unescaped(found: re.Match[str]) -> str:
    high, low, one, plain = found.groups()
    if high:
        return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00)
    return chr(int(one, 16)) if one else PLAIN.get(plain, plain)


def _object(text: str, at: int, depth: int) -> tuple[dict[str, Any], int]:
    members: dict[str, Any] = {}
    doubled = False
    at = _space(text, at + 1)
    while not text.startswith("}", at):
        name, at = _text(text, at)
        at = _space(text, at)
        if not text.startswith(":", at):
            raise Odd("bad_json")
        value, at = _value(text, _space(text, at + 1), depth + 1)
        doubled |= name in members
        members[name] = value
        at = _next(text, _space(text, at), "}")
    if doubled:
        raise Odd("duplicate_key")
    return members, at + 1


def _array(text: str, at: int, depth: int) -> tuple[list[Any], int]:
    items = []
    at = _space(text, at + 1)
    while not text.startswith("]", at):
        item, at = _value(text, at, depth + 1)
        items.append(item)
        at = _next(text, _space(text, at), "]")
    return items, at + 1


def _next(text: str, at: int, closing: str) -> int:
    """Position after the comma, where an item must follow, or of the closing character."""
    if text.startswith(",", at):
        at = _space(text, at + 1)
        if not text.startswith(closing, at):
            return at
    elif text.startswith(closing, at):
        return at
    raise Odd("bad_json")


def _row(members: dict[str, Any]) -> tuple[Any, ...]:
    id_ = members.get("user_id")
    if isinstance(id_, Number) and id_.whole:
        id_ = str(int(id_.text))
    elif id_ is not None and not isinstance(id_, str):
        raise Odd("bad_value")
    values = [members.get(name) for name, _ in WANTED[1:]]
    texts = [text for text in (id_, *values) if isinstance(text, str)]
    if any("\ud800" <= c <= "\udfff" for text in texts for c in text):
        raise Odd("invalid_utf8")
    fits = [value if _fits(value, type_) else None for value, (_, type_) in zip(values, WANTED[1:], strict=True)]
    if "\0" in (id_ or "") or any("\0" in t for t, (_, k) in zip(fits, WANTED[1:], strict=True) if k == "string" and t):
        raise Odd("nul_byte")
    if id_ is None:
        raise Odd("id_missing")
    if not id_ or len(id_) > 191 or id_.isspace():
        raise Odd("id_too_long" if len(id_) > 191 else "id_blank" if id_ else "id_empty")
    return (id_, *(_typed(value, type_) for value, (_, type_) in zip(values, WANTED[1:], strict=True)))


def _fits(value: Any, type_: str) -> bool:
    return isinstance(value, Number) if type_ in ("long", "double") else isinstance(value, str)


def _typed(value: Any, type_: str) -> Any:
    if value is None:
        return None
    if not _fits(value, type_) or (type_ == "long" and not value.whole):
        raise Wrong(value)
    if type_ == "long":
        return value_of(value.text, "long")
    if type_ == "double":
        number = float(value.text)
        if not math.isfinite(number) or (value.whole and int(number) != int(value.text)):
            raise Wrong(value)
        return float(int(value.text)).hex() if value.whole else number.hex()  # the integer -0 is 0
    if value == "":  # JSON has null, so a text never means null
        if type_ == "string":
            return ""
        raise Wrong(value)
    return value_of(value, type_)


def read(content: bytes) -> Reading:
    """Read a file: every line is a row. Raises `naive_csv.Refusal`."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise Refusal("NOT_UTF8_HEADER")
    offset = len(BOM) if content.startswith(BOM) else 0
    if offset == len(content):
        raise Refusal("EMPTY_FILE")
    reading = Reading()
    lines = content[offset:].split(b"\n")
    with_ids = set()
    for ordinal, line in enumerate(lines):
        ended = ordinal < len(lines) - 1
        if not ended and not line:
            break
        found, has_id = line_outcome(line.removesuffix(b"\r") if ended else line)
        with_ids.add(has_id)
        if isinstance(found, str):
            reading.rejects.append((ordinal, ordinal + 1, offset, found))
        else:
            reading.rows.append((ordinal, *found))
        offset += len(line) + ended
    if False in with_ids and True not in with_ids:
        raise Refusal("MISSING_COLUMN")
    return reading
