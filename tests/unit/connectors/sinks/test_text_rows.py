"""Text rows equal a value-by-value conversion, for any column content and any cut of a batch."""

import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.sinks.text_rows import csv_rows, escaped, formulas, jsonl_rows, unescaped
from schemas.arrow import arrow_schema
from schemas.columns import Column, RowSchema
from schemas.errors import UserError

SCHEMA = RowSchema(columns=(Column(name="note"), Column(name="n", type="long"), Column(name="other")))
NULL = "\\N"
Row = tuple[str, str | None, int | None, str | None]
TEXTS = st.text(st.sampled_from("a=+-@\t\r\n'\",\\\x00\x1f \x7fé🙂")) | st.just("plain")
ROWS = st.lists(
    st.tuples(TEXTS.filter(bool), st.none() | TEXTS, st.none() | st.integers(-9, 9), st.none() | TEXTS), min_size=1
)


def batch_of(rows: list[Row], before: int) -> pa.RecordBatch:
    """The rows as a slice, preceded by others that it leaves out."""
    all_rows = [('="', '",', 1, "\n")] * before + rows
    columns = [list(column) for column in zip(*all_rows, strict=True)]
    return pa.RecordBatch.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, arrow_schema(SCHEMA), strict=True)],
        schema=arrow_schema(SCHEMA),
    ).slice(before)


def quoted(text: str) -> str:
    needs = any(character in text for character in '",\r\n')
    return '"' + text.replace('"', '""') + '"' if needs else text


def begins_like_a_formula(text: str | None) -> bool:
    return text is not None and text.startswith(("=", "+", "-", "@", "\t", "\r"))


@given(ROWS, st.integers(0, 3))
def test_csv_lines_follow_rfc_4180(rows: list[Row], before: int) -> None:
    texts = [[NULL if value is None else quoted(str(value)) for value in row] for row in rows]
    found = csv_rows(batch_of(rows, before), SCHEMA, null_token=NULL).to_pybytes().decode()
    assert found == "".join(",".join(row) + "\n" for row in texts)


def test_id_equal_to_the_null_token_is_refused() -> None:
    with pytest.raises(UserError, match="NULL_TOKEN_TAKEN: column user_id has the id"):
        csv_rows(batch_of([("a", None, 1, None), (NULL, "x", 1, "y")], 0), SCHEMA, null_token=NULL)


@given(ROWS, st.integers(0, 3))
def test_json_lines_equal_pythons_encoder(rows: list[Row], before: int) -> None:
    found = jsonl_rows(batch_of(rows, before), SCHEMA).to_pybytes().decode()
    objects = [dict(zip(SCHEMA.names, row, strict=True)) for row in rows]
    lines = [json.dumps(one, ensure_ascii=False, separators=(",", ":")) + "\n" for one in objects]
    assert found == "".join(lines)


@given(ROWS, st.integers(0, 3))
def test_formula_like_texts_are_counted_and_escaped(rows: list[Row], before: int) -> None:
    batch = batch_of(rows, before)
    texts = [text for user_id, note, _, other in rows for text in (user_id, note, other)]
    assert formulas(batch, SCHEMA) == sum(map(begins_like_a_formula, texts))
    safe = escaped(batch, SCHEMA)
    assert formulas(safe, SCHEMA) == 0
    assert unescaped(safe, SCHEMA) == batch
    apostrophes = [
        f"'{text}" if begins_like_a_formula(text) or (text or "").startswith("'") else text for text in texts
    ]
    assert [row[name] for row in safe.to_pylist() for name in ("user_id", "note", "other")] == apostrophes
