"""Rejected rows, each with its position in the file, a stable code and a reason."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter
from typing import Final

import pyarrow as pa

RAW_MAX_CHARACTERS: Final = 512
RAW_MAX_BYTES: Final = RAW_MAX_CHARACTERS * 4 + 3
"""Enough bytes for the first `RAW_MAX_CHARACTERS` characters: 4 each, and a truncated character after them."""

COLUMN_MAX_CHARACTERS: Final = 200
"""Characters kept of a column's name: a header may hold a name of a mebibyte, repeated in each reject of a batch."""


class RejectCode(StrEnum):
    """Reason codes of rejects. The words are stable: receipts count by them."""

    FIELD_COUNT = "field_count"
    BARE_QUOTE = "bare_quote"
    TEXT_AFTER_QUOTE = "text_after_quote"
    LONE_CR = "lone_cr"
    NUL_BYTE = "nul_byte"
    INVALID_UTF8 = "invalid_utf8"
    BLANK_LINE = "blank_line"
    REPEATED_HEADER = "repeated_header"
    BYTE_ORDER_MARK = "byte_order_mark"
    ROW_TOO_LARGE = "row_too_large"
    ID_MISSING = "id_missing"
    ID_EMPTY = "id_empty"
    ID_BLANK = "id_blank"
    ID_TOO_LONG = "id_too_long"
    BAD_VALUE = "bad_value"
    NO_TIMEZONE = "no_timezone"
    BAD_JSON = "bad_json"
    NOT_AN_OBJECT = "not_an_object"
    DUPLICATE_KEY = "duplicate_key"
    TOO_DEEP = "too_deep"
    UNKNOWN_MEMBER = "unknown_member"
    # Events and profiles, in the words of `segmentation.intake.refusals`.
    BAD_EVENT = "bad_event"
    BAD_EVENT_ID = "bad_event_id"
    BAD_TIME = "bad_time"
    TOO_EARLY = "too_early"
    TOO_FAR_AHEAD = "too_far_ahead"
    BAD_PROPERTY = "bad_property"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """One rejected row.

    `ordinal` counts data rows from 0, rejected ones included. `line` is the physical line (1-based, ends at LF) where
    the record starts, `byte_offset` its first byte in the decompressed stream; Parquet rows have neither. `column` in a
    batch is the start of the name, at most 200 characters. `raw` is the start of the record, at most 512 characters,
    with control characters and undecodable bytes escaped.
    """

    ordinal: int | None
    line: int | None = None
    byte_offset: int | None = None
    column: str | None = None
    code: RejectCode
    reason: str
    raw: str = ""


REJECT_SCHEMA: Final = pa.schema(
    [
        pa.field("ordinal", pa.int64()),
        pa.field("line", pa.int64()),
        pa.field("byte_offset", pa.int64()),
        pa.field("column", pa.string()),
        pa.field("code", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("raw", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class RejectBatch:
    """Rejects as a record batch of `REJECT_SCHEMA`, in ascending order of ordinals."""

    batch: pa.RecordBatch

    @property
    def num_rows(self) -> int:
        """Number of rejects."""
        return int(self.batch.num_rows)

    @classmethod
    def of(cls, rejects: Iterable[Reject]) -> "RejectBatch":
        """A batch of the rejects, sorted by ordinal."""
        rows = sorted(rejects, key=lambda r: -1 if r.ordinal is None else r.ordinal)
        columns = [list(map(attrgetter(name), rows)) for name in REJECT_SCHEMA.names]
        at = REJECT_SCHEMA.names.index("column")
        columns[at] = [None if name is None else name[:COLUMN_MAX_CHARACTERS] for name in columns[at]]
        arrays = [pa.array(c, type=f.type) for c, f in zip(columns, REJECT_SCHEMA, strict=True)]
        return cls(pa.RecordBatch.from_arrays(arrays, schema=REJECT_SCHEMA))

    def rejects(self) -> list[Reject]:
        """The rejects as objects."""
        return [Reject(**{**row, "code": RejectCode(row["code"])}) for row in self.batch.to_pylist()]


_ESCAPES: Final = {
    **{i: f"\\x{i:02x}" for i in (*range(32), *range(127, 160))},
    9: "\\t",
    10: "\\n",
    13: "\\r",
}


def raw_text(record: bytes) -> str:
    """Start of a record as printable text: invalid UTF-8 and terminal control characters become escapes."""
    text = record[:RAW_MAX_BYTES].decode("utf-8", errors="backslashreplace")
    if text.isprintable():
        return text[:RAW_MAX_CHARACTERS]
    return text[:RAW_MAX_CHARACTERS].translate(_ESCAPES)[:RAW_MAX_CHARACTERS]
