"""Strict JSON Lines: what is accepted, what is refused, and under which name."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from connectors.sources.jsonl_reader import JsonLinesReader
from schemas.errors import UserError
from tests.unit.connectors.sources.reading import Bytes, parse_file, read_jsonl, spec_of

TYPED = ("n:long", "d:double", "b:boolean", "s", "day:date", "at:timestamp")
SPARSE = spec_of(*TYPED, allow_missing_columns=("n", "d", "b", "s", "day", "at"))


def test_every_type_comes_from_the_json_type_that_fits() -> None:
    line = {"user_id": "a", "n": 5, "d": 2, "b": False, "s": "x", "day": "2024-02-29", "at": "2024-01-01T00:00:00Z"}
    assert read_jsonl(json.dumps(line).encode(), *TYPED).rows == [
        (0, "a", 5, 2.0, False, "x", date(2024, 2, 29), datetime(2024, 1, 1, tzinfo=UTC))
    ]


def test_null_and_absent_members_are_null_and_empty_text_is_kept() -> None:
    found = read_jsonl(b'{"user_id":"a","n":null,"other":{"deep":[1]}}\r\n{"user_id":"b","s":""}', spec=SPARSE)
    assert found.rows == [(0, "a", *[None] * 6), (1, "b", None, None, None, "", None, None)]


def test_an_integer_id_becomes_its_decimal_digits() -> None:
    assert read_jsonl(b'{"user_id":5}\n{"user_id":-0}\n{"user_id":12345678901234567890}').ids == [
        "5",
        "0",
        "12345678901234567890",
    ]


@pytest.mark.parametrize(
    ("line", "code", "column"),
    [
        (b"null", "not_an_object", None),
        (b"[1]", "not_an_object", None),
        (b'"a"', "not_an_object", None),
        (b"5", "not_an_object", None),
        (b"true", "not_an_object", None),
        (b"", "blank_line", None),
        (b"  \t", "blank_line", None),
        (b"{", "bad_json", None),
        (b'{"user_id":"k"} x', "bad_json", None),
        (b'{"user_id":"k"}{"user_id":"l"}', "bad_json", None),
        (b"{'user_id':'k'}", "bad_json", None),
        (b'{"user_id":"k","n":NaN}', "bad_json", None),
        (b'{"user_id":"k","n":-Infinity}', "bad_json", None),
        (b'{"user_id":"k\0"}', "bad_json", None),
        (b'{"user_id":"k","x":' + b"9" * 5_000 + b"}", "bad_json", None),
        (b'\xef\xbb\xbf{"user_id":"k"}', "bad_json", None),
        (b'{"user_id":"k","user_id":"k"}', "duplicate_key", None),
        (b'{"user_id":"k","x":{"y":1,"y":2}}', "duplicate_key", None),
        (b'{"user_id":"\xff"}', "invalid_utf8", None),
        (b'{"user_id":"\\ud83d"}', "invalid_utf8", "user_id"),
        (b'{"user_id":"k","s":"\\udc00"}', "invalid_utf8", "s"),
        (b'{"user_id":"k\\u0000"}', "nul_byte", None),
        (b'{"user_id":"k","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too_deep", None),
        (b'{"x":' * 100_000, "too_deep", None),
        (b"{}", "id_missing", "user_id"),
        (b'{"user_id":null}', "id_missing", "user_id"),
        (b'{"user_id":""}', "id_empty", "user_id"),
        (b'{"user_id":" \\u3000"}', "id_blank", "user_id"),
        (b'{"user_id":"' + b"k" * 192 + b'"}', "id_too_long", "user_id"),
        (b'{"user_id":1.0}', "bad_value", "user_id"),
        (b'{"user_id":true}', "bad_value", "user_id"),
        (b'{"user_id":["k"]}', "bad_value", "user_id"),
        (b'{"user_id":"k","n":"1"}', "bad_value", "n"),
        (b'{"user_id":"k","n":1.0}', "bad_value", "n"),
        (b'{"user_id":"k","n":true}', "bad_value", "n"),
        (b'{"user_id":"k","n":9223372036854775808}', "bad_value", "n"),
        (b'{"user_id":"k","d":"1"}', "bad_value", "d"),
        (b'{"user_id":"k","d":1e999}', "bad_value", "d"),
        (b'{"user_id":"k","d":9007199254740993}', "bad_value", "d"),
        (b'{"user_id":"k","b":1}', "bad_value", "b"),
        (b'{"user_id":"k","s":5}', "bad_value", "s"),
        (b'{"user_id":"k","s":{"x":1}}', "bad_value", "s"),
        (b'{"user_id":"k","s":[]}', "bad_value", "s"),
        (b'{"user_id":"k","day":"2024-02-30"}', "bad_value", "day"),
        (b'{"user_id":"k","day":19000}', "bad_value", "day"),
        (b'{"user_id":"k","at":"2024-01-01T00:00:00"}', "no_timezone", "at"),
        (b'{"user_id":"k","at":1704067200}', "bad_value", "at"),
        (b'{"user_id":"k","s":"' + b"v" * 1_100_000 + b'"}', "row_too_large", None),
    ],
)
def test_faulty_line_is_named_and_its_neighbours_are_kept(line: bytes, code: str, column: str | None) -> None:
    found = read_jsonl(b'{"user_id":"a"}\n' + line + b'\n{"user_id":"b"}\n', spec=SPARSE)
    assert [(row[0], row[1]) for row in found.rows] == [(0, "a"), (2, "b")]
    (reject,) = found.rejects
    assert (reject.ordinal, reject.line, reject.byte_offset) == (1, 2, 16)
    assert (reject.code, reject.column) == (code, column)


@pytest.mark.parametrize("block_bytes", [1, 2, 3, 17, 100, 1 << 20])
def test_block_size_does_not_affect_rows(block_bytes: int) -> None:
    lines = [b'{"user_id":"a"}\r', b"", b'{"user_id":"' + b"x" * 300 + b'"}', '{"user_id":"日本"}'.encode(), b"null"]
    settings: Any = {"block_bytes": block_bytes, "record_limit": 100}
    for content in (b"\n".join(lines), b"\xef\xbb\xbf" + b"\n".join(lines) + b"\n" + lines[2]):
        found = read_jsonl(content, **settings)
        assert found.rows == [(0, "a"), (3, "日本")]
        assert [r.code.value for r in found.rejects][:3] == ["blank_line", "row_too_large", "not_an_object"]
        starts = [content.rindex(b"null"), content.index(b'{"user_id":"x')]
        assert {r.byte_offset for r in found.rejects} >= set(starts)


def test_empty_json_file_is_an_error() -> None:
    for content in (b"", b"\xef\xbb\xbf"):
        with pytest.raises(UserError, match="EMPTY_FILE"):
            read_jsonl(content)
    with pytest.raises(UserError, match="NOT_UTF8_HEADER"):
        read_jsonl('{"user_id":"a"}'.encode("utf-16"))


def test_the_four_bytes_that_crash_other_parsers_are_one_reject(tmp_path: Path) -> None:
    file = tmp_path / "f.jsonl"
    file.write_bytes(b"null")
    found = parse_file(file)
    assert found.codes == [(0, "not_an_object")]
    assert found.summary is not None
    assert found.summary.format == "jsonl"


def test_block_of_line_ends_is_cut_into_bounded_batches() -> None:
    batches = list(JsonLinesReader(Bytes(b"\n" * 200_000), spec_of()))
    assert [batch.num_rows for batch in batches] == [65_536, 65_536, 65_536, 3_392]


AMOUNTS = b"".join(b'{"user_id":"u%d","Amount":%d,"at":{"amount":1}}\n' % (n, n) for n in range(1_000))


def missing(content: bytes, *columns: str, **settings: Any) -> UserError:
    with pytest.raises(UserError) as caught:
        read_jsonl(content, spec=spec_of(*columns, **settings))
    assert caught.value.code == "MISSING_COLUMN"
    return caught.value


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("amount:long", "no row has 'amount'; 'Amount' is in 1,000. Map the columns"),
        ("amuont:double", "no row has 'amuont'; 'Amount' is in 1,000. Map"),
        ("city=at.city", "no row has 'at.city'; 'at' is in 1,000. What is nested in 'at' is not read. Map"),
        ("zzz", "no row has 'zzz'; `muster inspect` lists the 3 fields that they have. Map"),
    ],
)
def test_column_absent_from_all_rows_is_refused_with_the_nearest_field(column: str, message: str) -> None:
    error = missing(AMOUNTS, column)
    assert error.message.startswith(message)
    assert error.detail == {"missing": [column.partition("=")[2] or column.partition(":")[0]]}
    assert "--allow-missing-column" in error.message
    read_jsonl(AMOUNTS, spec=spec_of(column, allow_missing_columns=[column.partition(":")[0].partition("=")[0]]))


def test_lines_read_singly_count_towards_the_suggestion() -> None:
    odd = b'{"user_id":"a","Amount":1.5,"x":"\\ud83d"}\n{"user_id":"b\\u0062","Amount":2}\n'
    assert "'Amount' is in 1,002." in missing(AMOUNTS + odd, "amount:long").message


def test_id_absent_from_all_rows_is_refused() -> None:
    error = missing(AMOUNTS, id_column="userid", max_reject_share=1.0, allow_empty=True)
    assert error.message.startswith("no row has 'userid'; 'user_id' is in 1,000. Map")
    assert "--allow-missing-column" not in error.message


@pytest.mark.parametrize(
    "row", [b'{"user_id":"b","amount":null}', b'{"user_id":"b","amount":"\\u0031"}', b'{"amount":1}']
)
def test_single_row_proves_a_field_even_as_null_or_reject(row: bytes) -> None:
    assert len(read_jsonl(AMOUNTS + row, "amount:long", block_bytes=1_000).ids) >= 1_000


def test_a_file_without_a_single_object_has_only_rejects() -> None:
    assert [code for _, code in read_jsonl(b"nonsense\n\n", "amount").codes] == ["bad_json", "blank_line"]


def test_removal_file_needs_only_ids() -> None:
    assert read_jsonl(b'{"user_id":"a"}', spec=spec_of("amount:long", mode="remove")).ids == ["a"]


def test_distinct_names_are_counted_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.sources.fields_seen.NAMES_KEPT", 3)
    lines = b"".join(b'{"user_id":"a","n%d":1}\n' % n for n in range(100))
    assert "lists the 3 fields" in missing(lines, "zzzz").message
