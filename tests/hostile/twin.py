"""The clean twin of a broken file: a table whose meaning is known because the file was written from it."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from schemas.columns import Column
from schemas.import_spec import ImportSpec
from tests.hostile.naive_values import value_of

WANTED: Final = (
    ("user_id", "id"),
    ("n", "long"),
    ("d", "double"),
    ("note", "string"),
    ("day", "date"),
    ("at", "timestamp"),
)
"""Kept columns; the file has one more, `extra`, which is only scanned."""
HEADER: Final = (*(name for name, _ in WANTED), "extra")
SPEC: Final = ImportSpec(columns=tuple(Column.parse(f"{name}:{type_}") for name, type_ in WANTED[1:]), format="csv")
Row = tuple[str, ...]
"""Texts of one row in the order of `HEADER`, without quotes."""
NOTES: Final = ("plain", "with, comma", 'with "quotes"', "日本é", "", "two\nlines", "x" * 40)


def clean_row(number: int) -> Row:
    """A row unlike any other."""
    at = f"2024-{1 + number % 12:02}-{1 + number % 28:02}T{number % 24:02}:{number % 60:02}:07.{number % 1000:03}Z"
    return (
        f"user-{number:06}",
        str((number * 7919) % 100_003 - 50_000),
        repr(number / 8),
        f"{NOTES[number % len(NOTES)]} {number}",
        f"{1970 + number % 80}-02-{1 + number % 28:02}",
        at,
        "same",
    )


def quoted(text: str, *, always: bool = False) -> str:
    """Quote a text by RFC 4180."""
    if always or any(c in text for c in '",\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


@lru_cache(1 << 18)
def written(row: Row, *, always: bool = False) -> bytes:
    """A record without its line end."""
    return ",".join(quoted(text, always=always) for text in row).encode()


@lru_cache(1 << 18)
def values(row: Row) -> tuple[Any, ...]:
    """Values of the accepted row."""
    return (row[0], *(value_of(text, type_) for text, (_, type_) in zip(row[1:], WANTED[1:], strict=False)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """The rows, and how they are written."""

    rows: tuple[Row, ...]
    line_end: bytes = b"\n"
    always_quoted: bool = False

    def records(self) -> list[bytes]:
        """Each row as written in the file, without its line end."""
        return [written(row, always=self.always_quoted) for row in self.rows]

    def content(self) -> bytes:
        """The clean file."""
        return joined([written(HEADER, always=self.always_quoted), *self.records()], self.line_end)

    def with_border_at(self, index: int, border: int, phase: int) -> "Twin":
        """The same table, padded in an unkept column: record `index` begins `phase` bytes before byte `border`."""
        records = [written(HEADER, always=self.always_quoted), *self.records()[:index]]
        missing = border - phase - len(joined(records, self.line_end))
        assert missing >= 0, "the row lies behind the border"
        before = self.rows[index - 1]
        padded = (*before[:-1], before[-1] + "-" * missing)
        return replace(self, rows=(*self.rows[: index - 1], padded, *self.rows[index:]))


def joined(records: list[bytes], line_end: bytes) -> bytes:
    """The records, each with its line end."""
    return b"".join(record + line_end for record in records)


def twin_of(size_bytes: int, *, line_end: bytes = b"\n", always_quoted: bool = False) -> Twin:
    """A table of about `size_bytes` bytes, with at least three rows."""
    rows: list[Row] = []
    total = 0
    while total < size_bytes or len(rows) < 3:
        rows.append(clean_row(len(rows)))
        total += len(written(rows[-1], always=always_quoted)) + len(line_end)
    return Twin(rows=tuple(rows), line_end=line_end, always_quoted=always_quoted)
