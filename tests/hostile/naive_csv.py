"""docs/file-formats.md again for CSV, byte by byte in plain Python: what a file means, whatever the product says.

Uses nothing of the product. Slow and plain on purpose; only lines without a quote, a CR or a NUL are split at once, and
of a large file only the differences to a `Known` one are read.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.hostile.naive_values import Unclear, Wrong, value_of

BOM: Final = b"\xef\xbb\xbf"
RECORD_LIMIT: Final = 1024 * 1024
COLUMNS_LIMIT: Final = 20_000
KEPT_LIMIT: Final = 384 * 1024
ID_CHARACTERS: Final = 191
Wanted = Sequence[tuple[str, str]]
"""(name in the file, type) of the id column, whose type is "id", and of the other kept columns."""


class Refusal(Exception):  # noqa: N818  # an outcome, no error
    """The whole file is refused; `code` matches the product's error."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class Reading:
    """Rows as (ordinal, values...), rejects as (ordinal, line, byte offset, code)."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    rejects: list[tuple[int, int, int, str]] = field(default_factory=list)


@dataclass
class Record:
    """One record: its bytes without the line end, its fields without quotes, where it begins, its first fault."""

    start: int
    end: int
    line: int
    after: int
    next_line: int
    fields: list[bytes]
    fault: str


@dataclass(frozen=True)
class Known:
    """A clean file, already read: row k is the record that begins at `starts[k]`, on line `lines[k]`."""

    content: bytes
    reading: Reading
    starts: dict[int, int]
    """Ordinal of each record by its offset."""
    lines: list[int]

    def head(self, content: bytes) -> int:
        """Number of leading records that another file shares with this one, line ends included."""
        same = _common(self.content, content)
        return bisect_left(list(self.starts), same) - 1 if same else 0

    def tail(self, content: bytes) -> dict[int, int]:
        """Offsets from which another file equals the end of this one, with the ordinals of the records here."""
        moved = len(content) - len(self.content)
        same = len(content) - _common(self.content[::-1], content[::-1])
        return {start + moved: row for start, row in self.starts.items() if start + moved >= same}


def known(content: bytes, wanted: Wanted) -> Known:
    """Read a clean file, to read similar files faster. Raises ValueError if a record is not a row."""
    reading = read(content, wanted)
    if reading.rejects:
        raise ValueError("a clean file has no rejects")
    record = record_at(content, 0, 1)
    starts: dict[int, int] = {}
    lines: list[int] = []
    while record.after < len(content):
        record = record_at(content, record.after, record.next_line)
        starts[record.start] = len(lines)
        lines.append(record.line)
    return Known(content=content, reading=reading, starts=starts, lines=lines)


def _common(one: bytes, other: bytes) -> int:
    """Length of the common prefix in bytes."""
    same, differ = 0, min(len(one), len(other))
    while same < differ:
        middle = (same + differ + 1) // 2
        if one[same:middle] == other[same:middle]:
            same = middle
        else:
            differ = middle - 1
    return same


def read(content: bytes, wanted: Wanted, *, limit: int = RECORD_LIMIT, like: Known | None = None) -> Reading:
    """What the file means. `like`: a clean file with the same header; equal records are equal rows.

    Raises `Refusal`.
    """
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise Refusal("NOT_UTF8_HEADER")
    pos = len(BOM) if content.startswith(BOM) else 0
    if pos == len(content):
        raise Refusal("EMPTY_FILE")
    header = record_at(content, pos, 1)
    if header.end - header.start > limit or header.end == header.start or header.fault:
        raise Refusal("BAD_HEADER")
    where, names = _columns(header, wanted)
    reading = Reading()
    pos, line, ordinal = header.after, header.next_line, 0
    tail: dict[int, int] = {}
    if like is not None and like.content.startswith(content[: header.after]):
        if (head := like.head(content)) > 0:
            reading.rows += like.reading.rows[:head]
            pos, line, ordinal = list(like.starts)[head], like.lines[head], head
        tail = like.tail(content)
    while pos < len(content):
        if pos in tail:
            rest = like.reading.rows[tail[pos] :] if like is not None else []
            reading.rows += [(ordinal + n, *row[1:]) for n, row in enumerate(rest)]
            break
        record = record_at(content, pos, line)
        raw = content[record.start : record.end]
        row = _judge(record, raw, where, names, wanted, limit)
        if isinstance(row, str):
            reading.rejects.append((ordinal, record.line, record.start, row))
        else:
            reading.rows.append((ordinal, *row))
        pos, line, ordinal = record.after, record.next_line, ordinal + 1
    return reading


def _columns(header: Record, wanted: Wanted) -> tuple[list[int], list[str]]:
    if len(header.fields) > COLUMNS_LIMIT:
        raise Refusal("TOO_MANY_COLUMNS")
    try:
        names = [name.decode() for name in header.fields]
    except UnicodeDecodeError as exc:
        raise Refusal("NOT_UTF8_HEADER") from exc
    if any(name not in names for name, _ in wanted):
        raise Refusal("MISSING_COLUMN")
    if any(names.count(name) > 1 for name, _ in wanted):
        raise Refusal("DUPLICATE_COLUMN")
    return [names.index(name) for name, _ in wanted], names


def record_at(content: bytes, start: int, line: int) -> Record:
    """The record that begins at `start`. Raises `Refusal` UNCLOSED_QUOTE."""
    end = content.find(b"\n", start)
    end = len(content) if end < 0 else end
    plain = content[start:end]
    ended = end < len(content)
    body = plain[:-1] if ended and plain.endswith(b"\r") else plain
    if b'"' not in body and b"\r" not in body and b"\0" not in body:
        return Record(start, start + len(body), line, end + ended, line + ended, body.split(b","), "")
    return _record_by_bytes(content, start, line)


def _record_by_bytes(content: bytes, start: int, first_line: int) -> Record:
    pos, line = start, first_line
    fields: list[bytes] = []
    value, fault, quoted, at_start = bytearray(), "", False, True
    while True:
        byte = content[pos : pos + 1]
        if quoted:
            if not byte:
                raise Refusal("UNCLOSED_QUOTE")
            pos += 1
            if byte == b'"':
                if content[pos : pos + 1] == b'"':
                    value += b'"'
                    pos += 1
                    continue
                quoted = False
                if content[pos : pos + 1] not in (b"", b",", b"\n", b"\r"):
                    fault = fault or "text_after_quote"
                continue
            line += byte == b"\n"
            fault = fault or ("nul_byte" if byte == b"\0" else "")
            value += byte
        elif byte == b'"' and at_start:
            quoted, at_start = True, False
            pos += 1
        elif byte == b",":
            fields.append(bytes(value))
            value, at_start = bytearray(), True
            pos += 1
        elif byte in (b"", b"\n") or content[pos : pos + 2] == b"\r\n":
            fields.append(bytes(value))
            after = pos + {b"": 0, b"\n": 1}.get(byte, 2)
            return Record(start, pos, first_line, after, line + (byte != b""), fields, fault)
        else:
            fault = fault or {b'"': "bare_quote", b"\r": "lone_cr", b"\0": "nul_byte"}.get(byte, "")
            value += byte
            at_start = False
            pos += 1


def _begins_again(record: Record, raw: bytes, names: list[str]) -> str:
    """Reject code of a record that starts another file (`repeated_header`, `byte_order_mark`), or empty.

    Raises `Refusal` SECOND_HEADER if it has the columns in another order.
    """
    fields = [field.decode() for field in record.fields]
    marked = raw.startswith(BOM)
    if marked:
        bare = record_at(raw[len(BOM) :] + b"\n", 0, 1)
        fields = [field.decode(errors="replace") for field in bare.fields] if not bare.fault else []
    if fields == names:
        return "repeated_header"
    if sorted(fields) == sorted(names):
        raise Refusal("SECOND_HEADER")
    return "byte_order_mark" if marked else ""


def _judge(  # noqa: PLR0911  # the order of the rules
    record: Record, raw: bytes, where: list[int], names: list[str], wanted: Wanted, limit: int
) -> tuple[Any, ...] | str:
    """Values of an accepted row, or its reject code: the first of structure, UTF-8, id, size, values."""
    if len(raw) > limit:
        return "row_too_large"
    if not raw:
        return "blank_line"
    if record.fault:
        return record.fault
    if len(record.fields) != len(names):
        return "field_count"
    try:
        raw.decode()
    except UnicodeDecodeError:
        return "invalid_utf8"
    if again := _begins_again(record, raw, names):
        return again
    texts = [record.fields[at].decode() for at in where]
    id_ = texts[0]
    if not id_:
        return "id_empty"
    if len(id_) > ID_CHARACTERS:
        return "id_too_long"
    if id_.isspace():
        return "id_blank"
    if sum(len(t.encode()) if kind in ("id", "string") else 8 for t, (_, kind) in zip(texts, wanted, strict=True)) > (
        KEPT_LIMIT
    ):
        return "row_too_large"
    try:
        return (id_, *(value_of(t, kind) for t, (_, kind) in zip(texts[1:], wanted[1:], strict=True)))
    except Unclear:
        return "no_timezone"
    except Wrong:
        return "bad_value"
