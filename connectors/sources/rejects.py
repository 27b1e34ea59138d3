"""Rejected rows, each with its position in the file, a stable code and a reason.

Reasons, starts of records, and names that only the file has may be values of users: rejects need a right of their own.
Errors of a job are seen by more people: they have positions, codes and `MEANINGS`, and quote nothing of the file.
"""

from collections.abc import Iterable, Mapping
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
    # Of a fault of the whole file: what the error does not quote.
    BAD_HEADER = "bad_header"
    CORRUPT_FILE = "corrupt_file"


MEANINGS: Final[Mapping[RejectCode, str]] = {
    RejectCode.FIELD_COUNT: "another number of fields than the header",
    RejectCode.BARE_QUOTE: "a quote inside a field that does not start with one",
    RejectCode.TEXT_AFTER_QUOTE: "text between the closing quote of a field and its comma or line end",
    RejectCode.LONE_CR: "a carriage return that is not followed by a line feed",
    RejectCode.NUL_BYTE: "a NUL byte",
    RejectCode.INVALID_UTF8: "not UTF-8",
    RejectCode.BLANK_LINE: "a blank line",
    RejectCode.REPEATED_HEADER: "the header is repeated: another file begins here",
    RejectCode.BYTE_ORDER_MARK: "a byte order mark before the first field: another file begins here",
    RejectCode.ROW_TOO_LARGE: "the row is too large",
    RejectCode.ID_MISSING: "the id is missing",
    RejectCode.ID_EMPTY: "the id is empty",
    RejectCode.ID_BLANK: "the id is only white space",
    RejectCode.ID_TOO_LONG: "the id is too long",
    RejectCode.BAD_VALUE: "a value of another type",
    RejectCode.NO_TIMEZONE: "a time without an offset: give its zone with --timezone",
    RejectCode.BAD_JSON: "not JSON",
    RejectCode.NOT_AN_OBJECT: "not a JSON object",
    RejectCode.DUPLICATE_KEY: "a key occurs more than once",
    RejectCode.TOO_DEEP: "objects or arrays are nested too deeply",
    RejectCode.UNKNOWN_MEMBER: "a member that the first lines do not have",
    RejectCode.BAD_EVENT: "not a valid name of an event",
    RejectCode.BAD_EVENT_ID: "not a valid event id",
    RejectCode.BAD_TIME: "not a valid time",
    RejectCode.TOO_EARLY: "a time that is too early",
    RejectCode.TOO_FAR_AHEAD: "a time that is too far ahead",
    RejectCode.BAD_PROPERTY: "not a valid property",
    RejectCode.BAD_HEADER: "the header cannot be used",
    RejectCode.CORRUPT_FILE: "the file is damaged",
}
"""What each code means, without any value of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """One rejected row.

    `ordinal` counts data rows from 0, rejected ones included. `line` is the physical line (1-based, ends at LF) where
    the record starts, `byte_offset` its first byte in the decompressed stream; Parquet rows have neither. `column` in a
    batch is the start of the name, at most 200 characters. `raw` is the start of the record, at most 512 characters,
    with control characters and undecodable bytes escaped. `file`: of several, the URI of the one that has the row.
    """

    ordinal: int | None
    line: int | None = None
    byte_offset: int | None = None
    column: str | None = None
    code: RejectCode
    reason: str
    raw: str = ""
    file: str | None = None


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
REJECT_SCHEMA_OF_SETS: Final = pa.schema([pa.field("file", pa.string(), nullable=False), *REJECT_SCHEMA])
"""Rejects of several files: each with the URI of its file."""


@dataclass(frozen=True, slots=True)
class RejectBatch:
    """Rejects as a record batch of `REJECT_SCHEMA` or `REJECT_SCHEMA_OF_SETS`, in ascending order of ordinals."""

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

    @property
    def of_rows(self) -> pa.RecordBatch:
        """The rejects of rows: without those that belong to a fault of the whole file."""
        return self.batch.filter(self.batch.column("ordinal").is_valid())

    def of_file(self, uri: str) -> "RejectBatch":
        """The rejects with the file that has them."""
        files = pa.repeat(pa.scalar(uri, pa.string()), self.batch.num_rows)
        columns = [files, *self.batch.columns]
        return RejectBatch(pa.RecordBatch.from_arrays(columns, schema=REJECT_SCHEMA_OF_SETS))

    def rejects(self) -> list[Reject]:
        """The rejects as objects."""
        return [Reject(**{**row, "code": RejectCode(row["code"])}) for row in self.batch.to_pylist()]


def unusable_header(raw: bytes) -> RejectBatch:
    """The header of a file that is refused for it: errors do not quote it, since a file may begin without one."""
    code = RejectCode.BAD_HEADER
    return RejectBatch.of([Reject(ordinal=None, line=1, code=code, reason=MEANINGS[code], raw=raw_text(raw))])


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
