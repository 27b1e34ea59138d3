"""Avro: types and logical types that fit, those that do not, and what a file says about its columns."""

import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import UserError
from tests.hostile.avro_bytes import CODECS, Schema, avro, block, header, record, text, varint
from tests.unit.connectors.sources.reading import Found, parse_file, spec_of

LONGS = {name: {"type": "long", "logicalType": name} for name in ("timestamp-millis", "timestamp-micros")}


def read(content: bytes, tmp_path: Path, *columns: str, **settings: Any) -> Found:
    file = tmp_path / "f.avro"
    file.write_bytes(content)
    return parse_file(file, spec=spec_of(*columns, **settings))


def schema_of(type_: Any) -> Schema:
    return record(("user_id", "string"), ("c", type_))


def values(type_: Any, *given: Any, wanted: str, tmp_path: Path) -> list[Any]:
    content = avro(schema_of(type_), [{"user_id": f"u{n}", "c": one} for n, one in enumerate(given)])
    return [row[2] for row in read(content, tmp_path, f"c:{wanted}").rows]


@pytest.mark.parametrize("codec", CODECS)
def test_file_is_read_through_the_child(codec: str, tmp_path: Path) -> None:
    rows = [{"user_id": f"u{n}", "c": n} for n in range(1000)]
    content = avro(schema_of("long"), rows, codec)

    found = read(content, tmp_path, "c:long")

    assert found.rows == [(n, f"u{n}", n) for n in range(1000)]
    assert found.summary is not None
    assert (found.summary.format, found.summary.source_bytes) == ("avro", len(content))


AT = datetime(2024, 2, 29, 1, 2, 3, 456000, tzinfo=UTC)
FITS: list[tuple[Any, Any, str, Any]] = [
    ("int", -5, "long", -5),
    ("long", 2**63 - 1, "long", 2**63 - 1),
    ("long", 2**53, "double", 2.0**53),
    ("float", 0.5, "double", 0.5),
    ("double", 0.1, "double", 0.1),
    ("boolean", True, "boolean", True),
    ("string", "x", "string", "x"),
    ("string", "7", "long", 7),
    ("bytes", b"\xc3\xa9", "string", "\u00e9"),
    ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, "B", "string", "B"),
    ({"type": "int", "logicalType": "date"}, date(2024, 2, 29), "date", date(2024, 2, 29)),
    (LONGS["timestamp-millis"], AT, "timestamp", AT),
    (LONGS["timestamp-micros"], AT.replace(microsecond=456789), "timestamp", AT.replace(microsecond=456789)),
    ({"type": "string", "logicalType": "uuid"}, str(uuid.UUID(int=7)), "string", str(uuid.UUID(int=7))),
    ({"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}, Decimal("-0.05"), "string", "-0.05"),
    ({"type": "bytes", "logicalType": "decimal", "precision": 4}, Decimal(-128), "long", -128),
    (
        {"type": "fixed", "name": "D", "size": 30, "logicalType": "decimal", "precision": 70, "scale": 1},
        Decimal("-" + "9" * 69 + ".9"),
        "string",
        "-" + "9" * 69 + ".9",
    ),
    ({"type": "string", "logicalType": "date"}, "x", "string", "x"),
]


@pytest.mark.parametrize(("type_", "given", "wanted", "value"), FITS)
def test_value_that_fits_is_read_also_in_a_union_with_null(
    type_: Any, given: Any, wanted: str, value: Any, tmp_path: Path
) -> None:
    assert values(type_, given, wanted=wanted, tmp_path=tmp_path) == [value]
    assert values(["null", type_], None, given, wanted=wanted, tmp_path=tmp_path) == [None, value]
    assert values([type_, "null"], given, None, wanted=wanted, tmp_path=tmp_path) == [value, None]


def test_uuid_of_16_bytes_is_its_text(tmp_path: Path) -> None:
    schema = record(("user_id", {"type": "fixed", "name": "Id", "size": 16, "logicalType": "uuid"}))
    ids = [uuid.UUID(int=2**128 - 1), uuid.UUID("01234567-89ab-cdef-0123-456789abcdef")]
    assert read(avro(schema, [{"user_id": one.bytes} for one in ids]), tmp_path).ids == [str(one) for one in ids]


@pytest.mark.parametrize(
    ("type_", "encoded", "wanted"),
    [
        ("double", bytes.fromhex("000000000000f87f"), "double"),
        ("long", varint(2**53 + 1), "double"),
        ({"type": "int", "logicalType": "date"}, varint(10**7), "date"),
        (LONGS["timestamp-millis"], varint(2**60), "timestamp"),
        ({"type": "long", "logicalType": "timestamp-nanos"}, varint(1), "timestamp"),
    ],
)
def test_lossy_value_is_a_reject(type_: Any, encoded: bytes, wanted: str, tmp_path: Path) -> None:
    found = read(header(schema_of(type_)) + block(1, text(b"a") + encoded), tmp_path, f"c:{wanted}")
    assert (found.rows, found.codes) == ([], [(0, "bad_value")])


def test_local_time_needs_a_zone(tmp_path: Path) -> None:
    type_ = {"type": "long", "logicalType": "local-timestamp-millis"}
    content = header(schema_of(type_)) + block(1, text(b"a") + varint(0))
    assert read(content, tmp_path, "c:timestamp").codes == [(0, "no_timezone")]
    assert read(content, tmp_path, "c:timestamp", timezone="Asia/Tokyo").rows == [
        (0, "a", datetime(1969, 12, 31, 15, tzinfo=UTC))
    ]


@pytest.mark.parametrize(
    ("precision", "encoded"), [(2, b"\x64"), (38, b"\x01" + bytes(16)), (38, b""), (2, b"\x00\x00\x01\x00")]
)
def test_decimal_with_more_digits_than_its_type_is_corrupt(precision: int, encoded: bytes, tmp_path: Path) -> None:
    type_ = {"type": "bytes", "logicalType": "decimal", "precision": precision}
    with pytest.raises(UserError, match=r"CORRUPT_FILE: .* more digits than its type"):
        read(header(schema_of(type_)) + block(1, text(b"a") + text(encoded)), tmp_path, "c")


def test_names_of_types_follow_their_namespaces(tmp_path: Path) -> None:
    inner = {"type": "record", "name": "x.y.Inner", "fields": [{"name": "f", "type": "Flag"}]}
    schema = {
        "type": "record",
        "name": "User",
        "namespace": "a",
        "fields": [
            {"name": "user_id", "type": "string"},
            {"name": "flag", "type": {"type": "enum", "name": "x.y.Flag", "symbols": ["Y", "N"]}},
            {"name": "inner", "type": inner},
            {"name": "again", "type": ["null", "x.y.Inner"]},
            {"name": "c", "type": "x.y.Flag"},
        ],
    }
    rows = [{"user_id": "u", "flag": "Y", "inner": {"f": "N"}, "again": {"f": "Y"}, "c": "N"}]
    assert read(avro(schema, rows), tmp_path, "c", "flag").rows == [(0, "u", "N", "Y")]


def test_type_in_an_object_in_an_object_is_that_type(tmp_path: Path) -> None:
    content = header(schema_of({"type": {"type": {"type": "string"}}})) + block(1, text(b"a") + text(b"x"))
    assert read(content, tmp_path, "c").rows == [(0, "a", "x")]


def test_rows_of_many_blocks_and_of_large_ones_keep_their_order(tmp_path: Path) -> None:
    rows = [{"user_id": f"u{n}", "c": "x" * (n % 50)} for n in range(70_000)]
    for per_block in (1000, 70_000):
        found = read(avro(schema_of("string"), rows, "deflate", per_block), tmp_path, "c")
        assert found.rows == [(n, row["user_id"], row["c"]) for n, row in enumerate(rows)]
