"""Write rows as CSV (RFC 4180) and JSON Lines, column by column, so that an import reads back the same values.

Values round-trip exactly: doubles in the fewest digits that give the same bits, timestamps in UTC to the microsecond.
Lines end with LF. A value without a distinct text in the format, namely one that equals the null token in CSV, is
refused, never changed silently.
"""

import json
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.buffers import string_buffers, validity
from schemas.columns import USER_ID, ColumnType, RowSchema
from schemas.csv_lines import FORMULA
from schemas.errors import UserError
from schemas.ids import USER_ID_MAX_CHARACTERS

NEEDS_QUOTES: Final = '^\ufeff|[",\r\n]'
"""A byte order mark at the start of a line would begin another file."""
NEEDS_ESCAPE: Final = r'["\\\x00-\x1f\x7f]'
ESCAPED: Final = FORMULA + "'"
SPACE: Final = 0x20
"""First character that is not a control character."""
TIMESTAMP: Final = "%Y-%m-%dT%H:%M:%SZ"


def csv_header(schema: RowSchema) -> bytes:
    """The header line."""
    return (",".join(schema.names) + "\n").encode()


def csv_rows(rows: pa.RecordBatch, schema: RowSchema, *, null_token: str) -> pa.Buffer:
    """CSV lines of some rows. Raises `UserError` NULL_TOKEN_TAKEN if an id or a value equals the null token."""
    ids = rows.column(0)
    if pc.any(pc.equal(ids, null_token)).as_py():
        raise _null_token_taken(null_token, USER_ID, "id")
    # Quoted, because a row whose id is the column's name could be taken for a second header.
    members: list[pa.StringArray | str] = [pc.if_else(pc.equal(ids, USER_ID), f'"{USER_ID}"', _quoted(ids))]
    for index, column in enumerate(schema.columns, start=1):
        text = _texts(rows.column(index), column.type)
        if pc.any(pc.equal(text, null_token)).as_py():
            raise _null_token_taken(null_token, column.name, column.type)
        if column.type == "string":
            text = _quoted(text)
        members += [",", text.fill_null(null_token)]
    return _lines([*members, "\n"])


def _null_token_taken(token: str, column: str, what: str) -> UserError:
    return UserError(
        "NULL_TOKEN_TAKEN",
        f"column {column} has the {what} {token!r}, which would be read as null: choose another null token",
        column=column,
        null_token=token,
    )


def jsonl_rows(rows: pa.RecordBatch, schema: RowSchema) -> pa.Buffer:
    """JSON lines of some rows: one object each, all columns in order, nulls as null."""
    types: list[ColumnType] = ["string", *(column.type for column in schema.columns)]
    members: list[pa.StringArray | str] = []
    for index, (name, type_) in enumerate(zip(schema.names, types, strict=True)):
        text = _texts(rows.column(index), type_)
        if type_ == "double":  # -0 would be read as an integer, which has no signed zero
            text = pc.replace_substring_regex(text, r"^(-?\d+)$", r"\1.0")
        key = f"{',' if index else '{'}{json.dumps(name)}:"
        quote = '"' if type_ in _JSON_STRINGS else ""
        if quote:
            text = _json_escaped(text)
            if text.null_count:  # nulls are not quoted
                text, quote = pc.binary_join_element_wise(quote, text, quote, ""), ""
        members += [key + quote, text.fill_null("null"), quote]
    return _lines([*members, "}\n"])


def formulas(rows: pa.RecordBatch, schema: RowSchema) -> int:
    """Number of texts that a spreadsheet may take for a formula, ids included."""
    return sum(int(np.count_nonzero(_begins(rows.column(k), FORMULA))) for k in _text_columns(schema))


def escaped(rows: pa.RecordBatch, schema: RowSchema) -> pa.RecordBatch:
    """Prefix formulas with an apostrophe, so that a spreadsheet shows them as text.

    Texts that begin with an apostrophe get one too: `unescaped` removes exactly one. Raises `UserError` ID_TOO_LONG.
    """
    columns = list(rows.columns)
    for k in _text_columns(schema):
        needs = pa.array(_begins(columns[k], ESCAPED))
        columns[k] = pc.if_else(needs, pc.binary_join_element_wise("'", columns[k], ""), columns[k])
    if pc.any(pc.greater(pc.utf8_length(columns[0]), USER_ID_MAX_CHARACTERS)).as_py():
        raise UserError(
            "ID_TOO_LONG",
            f"an id of {USER_ID_MAX_CHARACTERS} characters begins like a formula: there is no room to prefix an "
            "apostrophe",
        )
    return pa.RecordBatch.from_arrays(columns, schema=rows.schema)


def unescaped(rows: pa.RecordBatch, schema: RowSchema) -> pa.RecordBatch:
    """Inverse of `escaped`. Columns are taken by name."""
    columns = list(rows.columns)
    for name in (schema.names[k] for k in _text_columns(schema)):
        k = rows.schema.get_field_index(name)
        columns[k] = pc.replace_substring_regex(columns[k], "^'", "")
    return pa.RecordBatch.from_arrays(columns, schema=rows.schema)


def _text_columns(schema: RowSchema) -> list[int]:
    return [0, *(k for k, column in enumerate(schema.columns, start=1) if column.type == "string")]


def _begins(texts: pa.StringArray, characters: str) -> npt.NDArray[np.bool_]:
    """bool[n]: True for texts that begin with one of `characters`; False for null."""
    offsets, data = string_buffers(texts)
    begins = np.zeros(len(texts), np.bool_)
    filled = np.flatnonzero(offsets[:-1] < offsets[1:])
    begins[filled] = np.isin(data[offsets[filled]], np.frombuffer(characters.encode(), np.uint8), kind="table")
    valid = validity(texts)
    return begins & valid.astype(np.bool_) if len(valid) else begins


def _may_hold(texts: pa.StringArray, characters: bytes, *, below: int = 0) -> bool:
    """True if the texts may hold any of `characters` or any code below `below`: False spares a look at each text."""
    offsets, data = string_buffers(texts)
    used = data[offsets[0] : offsets[-1]]
    content = used.tobytes()
    return len(used) > 0 and (int(used.min()) < below or any(bytes([one]) in content for one in characters))


def _quoted(texts: pa.StringArray) -> pa.StringArray:
    if not _may_hold(texts, b'",\r\n\xef'):
        return texts
    needs = pc.match_substring_regex(texts, NEEDS_QUOTES)
    quoted = pc.binary_join_element_wise('"', pc.replace_substring(texts, '"', '""'), '"', "")
    return pc.if_else(needs, quoted, texts)


def _json_escaped(texts: pa.StringArray) -> pa.StringArray:
    if _may_hold(texts, b'"\\\x7f', below=SPACE):
        needs = pc.match_substring_regex(texts, NEEDS_ESCAPE)
        escaped = [json.dumps(text, ensure_ascii=False)[1:-1] for text in texts.filter(needs).to_pylist()]
        texts = pc.replace_with_mask(texts, needs.fill_null(False), pa.array(escaped, pa.string()))  # noqa: FBT003
    return texts


def _lines(members: list[pa.StringArray | str]) -> pa.Buffer:
    """One buffer of all lines: the data of a string array of the lines, where they lie back to back.

    A text among the members is repeated in each line.
    """
    lines = pc.binary_join_element_wise(*members, "")
    _, offsets, data = lines.buffers()
    del offsets
    return data if data is not None else pa.py_buffer(b"")


_TEXT: Final[Mapping[ColumnType, Callable[[pa.Array], pa.StringArray]]] = {
    "string": lambda values: values,
    "long": lambda values: values.cast(pa.string()),
    "double": lambda values: values.cast(pa.string()),
    "boolean": lambda values: values.cast(pa.string()),
    "date": lambda values: values.cast(pa.string()),
    "timestamp": lambda values: pc.strftime(values, TIMESTAMP),
}
_JSON_STRINGS: Final[frozenset[ColumnType]] = frozenset({"string", "date", "timestamp"})


def _texts(values: pa.Array, type_: ColumnType) -> pa.StringArray:
    return _TEXT[type_](values)
