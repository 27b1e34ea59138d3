"""Strict CSV: what is accepted, what is refused, and under which name."""

import unicodedata
from typing import Any

import pyarrow as pa
import pytest

from connectors.sinks.text_rows import csv_header, csv_rows
from connectors.sources.rejects import RejectCode
from schemas.columns import USER_ID, RowSchema
from schemas.errors import UserError
from schemas.topics import ROW_MAX_BYTES
from tests.unit.connectors.sources.reading import read_csv, spec_of

CLEAN = [(0, "a", "x"), (1, "b", "y")]


@pytest.mark.parametrize(
    "content",
    [
        b"user_id,c\na,x\nb,y\n",
        b"user_id,c\na,x\nb,y",
        b"user_id,c\r\na,x\r\nb,y\r\n",
        b"user_id,c\r\na,x\nb,y\r\n",
        b"\xef\xbb\xbfuser_id,c\na,x\nb,y\n",
        b'\xef\xbb\xbf"user_id","c"\r\n"a","x"\r\n"b","y"',
        b'c,user_id\nx,a\ny,"b"\n',
        b"other,user_id,c,last\n,a,x,\n1,b,y,2\n",
    ],
)
def test_every_legal_way_to_write_a_table_gives_the_same_rows(content: bytes) -> None:
    found = read_csv(content, "c")
    assert found.rows == CLEAN
    assert found.rejects == []


def test_quoted_fields_keep_commas_quotes_and_line_ends() -> None:
    found = read_csv(b'user_id,c\n"a","x,\n""y""\r\nz\r"\nb,"""",\n"c","",\nd,""\n', "c")
    assert found.rows == [(0, "a", 'x,\n"y"\r\nz\r'), (3, "d", None)]
    assert found.codes == [(1, "field_count"), (2, "field_count")]


def test_escaped_quote_does_not_end_a_field() -> None:
    assert read_csv(b'user_id\n"a"""\n""""\n"""b"\n').ids == ['a"', '"', '"b']


@pytest.mark.parametrize(
    ("record", "code", "column"),
    [
        (b"k", "field_count", None),
        (b"k,x,", "field_count", None),
        (b"k,x,y", "field_count", None),
        (b"k" + b"," * 9_999, "field_count", None),
        (b'k,x"y', "bare_quote", "c"),
        (b'k"k,x', "bare_quote", "user_id"),
        (b'k, "x"', "bare_quote", "c"),
        (b'"k"k,x', "text_after_quote", "user_id"),
        (b'k,"x" ', "text_after_quote", "c"),
        (b"user_id,c", "repeated_header", None),
        (b'"user_id","c"', "repeated_header", None),
        (b"\xef\xbb\xbfuser_id,c", "repeated_header", None),
        (b"\xef\xbb\xbfk,x", "byte_order_mark", None),
        (b"k\rk,x", "lone_cr", "user_id"),
        (b"k,x\r\r", "lone_cr", "c"),
        (b"k\0,x", "nul_byte", "user_id"),
        (b'k,"x\0"', "nul_byte", "c"),
        (b"k,x\xff", "invalid_utf8", None),
        (b'k,"\xc3"', "invalid_utf8", None),
        (b"k,\xed\xa0\x80", "invalid_utf8", None),
        (b"k,\xc0\xaf", "invalid_utf8", None),
        (b"k,\xf4\x90\x80\x80", "invalid_utf8", None),
        (b"", "blank_line", None),
        (b",x", "id_empty", "user_id"),
        (b'"",x', "id_empty", "user_id"),
        (b"  ,x", "id_blank", "user_id"),
        (b"\t,x", "id_blank", "user_id"),
        (b'"\n",x', "id_blank", "user_id"),
        ("\u3000\u00a0,x".encode(), "id_blank", "user_id"),
        (("é" * 192 + ",x").encode(), "id_too_long", "user_id"),
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_faulty_record_is_named_and_its_neighbours_are_kept(
    record: bytes, code: str, column: str | None, end: bytes
) -> None:
    head = b"user_id,c" + end + b"a,x" + end
    found = read_csv(head + record + end + b"b,y" + end, "c")
    assert found.rows == [(0, "a", "x"), (2, "b", "y")]
    (reject,) = found.rejects
    assert (reject.ordinal, reject.line, reject.byte_offset) == (1, 3, len(head))
    assert (reject.code, reject.column) == (code, column)


def test_final_carriage_return_is_a_bare_one() -> None:
    assert read_csv(b"user_id\na\nb\r").codes == [(1, "lone_cr")]


def test_lines_and_offsets_count_the_line_ends_inside_quoted_fields() -> None:
    found = read_csv(b'user_id,c\na,"1\n2\r\n3"\nb\nc,"\n\nd"e\nf\n', "c")
    assert [(r.line, r.byte_offset, r.code.value) for r in found.rejects] == [
        (5, 21, "field_count"),
        (6, 23, "text_after_quote"),
        (9, 32, "field_count"),
    ]


def test_offsets_count_the_byte_order_mark() -> None:
    assert read_csv(b"\xef\xbb\xbfuser_id\n\n").rejects[0].byte_offset == 11


def test_id_of_191_characters_is_accepted_at_any_byte_length() -> None:
    ids = ["é" * 191, "字" * 191, "😀" * 191]
    assert read_csv("\n".join(["user_id", *ids]).encode()).ids == ids


def test_ids_that_differ_by_case_by_space_or_by_normalisation_stay_distinct() -> None:
    composed, decomposed = unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")
    ids = ["a", "A", "a ", " a", composed, decomposed, "\ufeffa", "0", "00"]
    # unquoted, the mark would begin another file
    written = [f'"{id_}"' if id_.startswith("\ufeff") else id_ for id_ in ids]
    assert read_csv("\n".join(["user_id", *written]).encode()).ids == ids


def test_oversized_record_is_one_reject_without_its_bytes() -> None:
    content = b"user_id,c\na,x\nbig," + b"z" * 5_000 + b'\nq,"' + b"y,\n" * 2_000 + b'"\nb,y\n'
    for block_bytes in (16, 300, 1 << 20):
        found = read_csv(content, "c", record_limit=1_000, block_bytes=block_bytes)
        assert found.rows == [(0, "a", "x"), (3, "b", "y")]
        assert [(r.line, r.byte_offset, r.code.value) for r in found.rejects] == [
            (3, 14, "row_too_large"),
            (4, 5_019, "row_too_large"),
        ]
        assert [len(r.raw) for r in found.rejects] == [512, 512]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
@pytest.mark.parametrize("block_bytes", [1, 7, 1 << 20])
def test_record_limit_is_exact_and_excludes_the_line_end(end: bytes, block_bytes: int) -> None:
    fits, over = b"k" * 99 + b",", b"k" * 100 + b","
    settings: Any = {"record_limit": 100, "block_bytes": block_bytes}
    assert read_csv(b"user_id,c\n" + fits + end, "c", **settings).rejects == []
    assert read_csv(b"user_id,c\n" + over + end, "c", **settings).codes == [(0, "row_too_large")]


def test_kept_values_larger_than_a_message_are_a_reject() -> None:
    value = b"v" * (ROW_MAX_BYTES // 2)
    content = b"user_id,c,d\na,%b,%b\nb,%b,\n" % (value, value, value)
    found = read_csv(content, "c", "d")
    assert found.codes == [(0, "row_too_large")]
    assert found.ids == ["b"]
    assert read_csv(content, "c").ids == ["a", "b"]  # dropped columns do not count


def test_a_value_that_does_not_convert_names_its_column() -> None:
    found = read_csv(b"user_id,Age\na,12\nb,twelve\nc,\n", "age:long=Age")
    assert found.rows == [(0, "a", 12), (2, "c", None)]
    assert (found.rejects[0].column, found.rejects[0].code) == ("Age", RejectCode.BAD_VALUE)
    assert found.rejects[0].reason == "'twelve' is not a whole number of 64 bits (digits with an optional sign)"
    assert found.rejects[0].raw == "b,twelve"


def test_a_row_with_two_faults_has_one_reject() -> None:
    assert read_csv(b"user_id,n\n,x\n", "n:long").codes == [(0, "id_empty")]


def test_null_tokens_are_null_in_extra_columns_and_invalid_as_ids() -> None:
    spec = spec_of("c", "n:long", null_values=("NULL", "-"))
    found = read_csv(b'user_id,c,n\na,"NULL",-\nb,,1\nNULL,x,1\n"-",x,1\n,x,1\nnull,x,1\n', spec=spec)
    assert found.rows == [(0, "a", None, None), (1, "b", "", 1), (5, "null", "x", 1)]
    assert found.codes == [(2, "id_missing"), (3, "id_missing"), (4, "id_empty")]


def test_one_column_of_the_file_may_be_read_twice() -> None:
    found = read_csv(b"user_id\n7\nx\n", "n:long=user_id", "again=user_id")
    assert found.rows == [(0, "7", 7, "7")]
    assert found.codes == [(1, "bad_value")]


def test_raw_text_is_bounded_and_printable() -> None:
    found = read_csv(b"user_id,c\n\x1b[31m\xff\0\t" + "字".encode() * 1_000 + b"\n", "c")
    assert found.rejects[0].raw.startswith("\\x1b[31m\\xff\\x00\\t字字")
    assert len(found.rejects[0].raw) == 512


def test_header_without_rows_is_valid() -> None:
    for content in (b"user_id,c", b"user_id,c\n", b"\xef\xbb\xbfuser_id,c\r\n"):
        found = read_csv(content, "c")
        assert (found.rows, found.rejects) == ([], [])


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "EMPTY_FILE"),
        (b"\xef\xbb\xbf", "EMPTY_FILE"),
        (b"\n\na,b\n", "BAD_HEADER"),
        (b'user_id,"c"d\n', "BAD_HEADER"),
        (b"user_id,c\0\n", "BAD_HEADER"),
        (b"user_id\ra\rb", "BAD_HEADER"),
        (b"user_id," + b"c" * 2_000, "BAD_HEADER"),
        (b"user_id,\xe9\na,b\n", "NOT_UTF8_HEADER"),
        ("user_id,c\na,b\n".encode("utf-16"), "NOT_UTF8_HEADER"),
        (b"User_Id,c\na,b\n", "MISSING_COLUMN"),
        (b"user_id;c\na;b\n", "MISSING_COLUMN"),
        (b"user_id\na\n", "MISSING_COLUMN"),
        (b"user_id,user_id,c\na,b,c\n", "DUPLICATE_COLUMN"),
        (b"user_id,c,c\na,b,c\n", "DUPLICATE_COLUMN"),
        (b'"user_id,c\na,b\n', "UNCLOSED_QUOTE"),
        (b'user_id,c\na,"b\n', "UNCLOSED_QUOTE"),
    ],
)
@pytest.mark.parametrize("block_bytes", [1, 1 << 20])
def test_file_fault_is_an_error_with_a_code(content: bytes, code: str, block_bytes: int) -> None:
    with pytest.raises(UserError) as caught:
        read_csv(content, "c", block_bytes=block_bytes, record_limit=1_000)
    assert caught.value.code == code


def test_a_missing_column_is_reported_with_a_similar_one() -> None:
    with pytest.raises(UserError, match=r"no column 'user_id'; .* the 2 that it has\. Did you mean 'USER_ID '\?"):
        read_csv(b"USER_ID ,x\n")
    with pytest.raises(UserError, match=r"no column 'age'.* give up a column .* --drop-column, or .* --allow-missing-"):
        read_csv(b"user_id\n", "age")


def test_optional_column_is_null_when_absent() -> None:
    spec = spec_of("age:long", "city=Town", allow_missing_columns=("age",))
    assert read_csv(b"Town,user_id\nOsaka,a\n", spec=spec).rows == [(0, "a", None, "Osaka")]
    assert read_csv(b"Town,age,user_id\nOsaka,5,a\n", spec=spec).rows == [(0, "a", 5, "Osaka")]
    with pytest.raises(UserError, match="no column 'Town'"):
        read_csv(b"age,user_id\n5,a\n", spec=spec)


def test_removal_file_needs_only_ids() -> None:
    assert read_csv(b"user_id\na\n", spec=spec_of("age:long", mode="remove")).ids == ["a"]


def test_duplicate_of_an_unused_column_is_ignored() -> None:
    assert read_csv(b"user_id,x,x\na,1,2\n").ids == ["a"]


def test_20_000_columns_are_read_and_one_more_is_refused() -> None:
    names = ["user_id", *(f"c{i}" for i in range(19_999))]
    row = ",".join(["a", *("1" for _ in range(19_999))])
    assert read_csv((",".join(names) + "\n" + row).encode(), "n:long=c19998").rows == [(0, "a", 1)]
    with pytest.raises(UserError) as caught:
        read_csv((",".join([*names, "more"]) + "\n").encode())
    assert caught.value.code == "TOO_MANY_COLUMNS"


@pytest.mark.parametrize("block_bytes", [64, 1 << 20])
def test_unclosed_quote_is_reported_with_its_position(block_bytes: int) -> None:
    content = b'user_id,c\na,"1\n2"\nb,x\nc,"' + b"y\n" * 5_000
    with pytest.raises(UserError) as caught:
        read_csv(content, "c", block_bytes=block_bytes, record_limit=1_000)
    assert caught.value.code == "UNCLOSED_QUOTE"
    assert (caught.value.detail["line"], caught.value.detail["byte_offset"]) == (5, 24)


def test_endless_rejects_arrive_in_bounded_batches() -> None:
    found = read_csv(b"user_id,c\n" + b"x\n" * 20_000 + b"a,b\n", "c")
    assert len(found.rejects) == 20_000
    assert found.rows == [(20_000, "a", "b")]


def test_ids_equal_to_the_header_or_starting_with_a_mark_round_trip() -> None:
    ids = ["user_id", "\ufeffuser_id", "\ufeff", "a", '\ufeff"']
    rows = pa.RecordBatch.from_pydict({USER_ID: ids})
    written = csv_header(RowSchema()) + bytes(csv_rows(rows, RowSchema(), null_token=""))
    assert read_csv(written).ids == ids
