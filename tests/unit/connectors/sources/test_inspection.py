"""`inspect`: what a file is, before anyone has described it, and a spec that an import can use unchanged."""

import gzip
import io
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.sources.inspection import Inspection, inspect
from schemas.columns import Column
from schemas.errors import UserError
from schemas.import_spec import ImportSpec
from tests.hostile.avro_bytes import avro, record
from tests.unit.connectors.sources.reading import parse_file

CSV = (
    "\ufeffUserID,Age,zip,Last seen,ok,日本,x,x,user_id\r\n"
    "a,1,0123,2024-01-01T00:00:00,true,é,1,2,q\r\n"
    "b,,1234,2024-01-02T00:00:00,false,é,1,2,r\r\n"
    "c,1\r\n"
    '"",2,9,2024-01-02T00:00:00,false,é,1,2,s\r\n'
).encode()


def inspected(tmp_path: Path, name: str, content: bytes) -> Inspection:
    file = tmp_path / name
    file.write_bytes(content)
    return inspect(file)


def test_a_csv_file_is_described_with_types_that_fit_every_row(tmp_path: Path) -> None:
    seen = inspected(tmp_path, "f.csv.gz", gzip.compress(CSV))
    assert (seen.format, seen.compression, seen.encoding) == ("csv", "gzip", "UTF-8 with a byte order mark")
    assert (seen.rows, seen.rejected, seen.rejected_by_code) == (4, 1, {"field_count": 1})
    assert [(c.name, c.type, c.is_id, c.nulls, c.examples) for c in seen.columns] == [
        ("UserID", "string", False, 1, ("a", "b")),
        ("Age", "long", False, 1, ("1", "2")),
        ("zip", "string", False, 0, ("0123", "1234", "9")),
        ("Last seen", "timestamp", False, 0, ("2024-01-01T00:00:00", "2024-01-02T00:00:00")),
        ("ok", "boolean", False, 0, ("true", "false")),
        ("日本", "string", False, 0, ("é",)),
        ("x", None, False, 0, ()),
        ("x", None, False, 0, ()),
        ("user_id", "string", True, 0, ("q", "r", "s")),
    ]


def test_suggested_spec_is_valid_for_an_import(tmp_path: Path) -> None:
    content = CSV.replace(b",user_id\r\n", b",last\r\n").replace(b"00:00:00,", b"00:00:00Z,")
    seen = inspected(tmp_path, "f.csv", content)
    assert seen.spec == ImportSpec(
        id_column="UserID",
        format="csv",
        columns=(
            Column(name="Age", type="long"),
            Column(name="zip"),
            Column(name="Last_seen", type="timestamp", source="Last seen"),
            Column(name="ok", type="boolean"),
            Column(name="column_5", source="日本"),
            Column(name="last"),
        ),
    )
    found = parse_file(tmp_path / "f.csv", spec=seen.spec)
    assert found.rows[0] == (0, "a", 1, "0123", datetime(2024, 1, 1, tzinfo=UTC), True, "é", "q")
    assert len(found.rows) == seen.rows - seen.rejected


def test_every_dropped_column_has_a_reason_and_a_remedy(tmp_path: Path) -> None:
    columns = {
        "user_id": ["a", "b"],
        "amount": pa.array([Decimal("12.30"), None], pa.decimal128(12, 2)),
        "tags": [["x"], []],
        "took": pa.array([1, 2], pa.time64("us")),
        **{f"c{n}": ["1", "2"] for n in range(297)},
    }
    pq.write_table(pa.table(columns), tmp_path / "f.parquet")
    seen = inspect(tmp_path / "f.parquet")
    found = {column.name: column for column in seen.columns}
    assert [found[name].type for name in ("amount", "c0", "c62", "c63", "tags")] == [
        *("string", "long", "long", None, None),
    ]
    assert found["amount"].examples == ("12.30",)
    assert found["amount"].reason is None
    to_do = "write its values to the file as text, or as columns of their own"
    assert found["took"].reason == f"it is time64[us]: {to_do}"
    assert str(found["tags"].reason).startswith("it is list<")
    assert found["c296"].reason == "an import keeps 64 columns besides the id: choose them with --column"
    hints = {one.code: one.hint for one in seen.findings}
    assert hints["decimals"].endswith("rounded to the nearest double: --column amount:double:rounded")
    assert hints["too_many_columns"].startswith(
        "the file has 301 columns, and an import keeps 64 besides the id, since"
    )
    assert "from 'amount' to 'c62'; not kept are 'c63', " in hints["too_many_columns"]
    assert hints["too_many_columns"].endswith(" and 224 more. To choose others, name each with --column")
    assert hints["type_not_kept"].endswith(
        "'took (time64[us])'. Write their values to the file as text, or as columns of their own"
    )
    assert seen.spec is not None
    found_rows = parse_file(tmp_path / "f.parquet", spec=seen.spec).rows
    assert [row[2] for row in found_rows] == ["12.30", None]


def test_json_lines_keep_the_types_of_json(tmp_path: Path) -> None:
    content = (
        b'{"user_id":"a","n":1,"d":1,"s":"1","day":"2024-01-01","nest":[1],"mix":1}\n'
        b'{"user_id":"b","n":2,"d":1.5,"s":"2","day":null,"mix":"x"}\nnull\n'
    )
    seen = inspected(tmp_path, "f.jsonl", content)
    assert {c.name: c.type for c in seen.columns} == {
        "user_id": "string", "n": "long", "d": "double", "s": "string", "day": "date", "nest": None, "mix": None,
    }  # fmt: skip
    assert seen.rejected_by_code == {"not_an_object": 1}
    assert seen.spec is not None
    assert parse_file(tmp_path / "f.jsonl", spec=seen.spec).rows == [
        (0, "a", 1, 1.0, "1", date(2024, 1, 1)),
        (1, "b", 2, 1.5, "2", None),
    ]


def test_avro_keeps_the_types_of_the_file(tmp_path: Path) -> None:
    schema = record(
        ("id", "string"),
        ("n", ["null", "int"]),
        ("t", "string"),
        ("amount", {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}),
        ("nest", record(("x", "int"))),
        ("mix", ["null", "int", "string"]),
        ("seen", {"type": "long", "logicalType": "local-timestamp-micros"}),
    )
    inner = {**schema["fields"][4]["type"], "name": "Inner"}
    schema["fields"][4]["type"] = inner
    row = {"id": "a", "n": 1, "t": "1.5", "amount": Decimal("12.30"), "nest": {"x": 1}, "mix": 1, "seen": 0}
    seen = inspected(tmp_path, "f.avro", avro(schema, [row]))
    assert {c.name: c.type for c in seen.columns} == {
        "id": "string", "n": "long", "t": "double", "amount": "string", "nest": None, "mix": None, "seen": "timestamp",
    }  # fmt: skip
    assert (seen.format, seen.local_times, seen.decimals) == ("avro", ("seen",), ("amount",))
    assert {c.name: str(c.reason).partition("<")[0] for c in seen.columns if c.type is None} == {
        "nest": "it is struct",
        "mix": "it is dense_union",
    }
    assert seen.spec is not None
    found = parse_file(tmp_path / "f.avro", spec=seen.spec).rows
    assert found == [(0, "a", 1, 1.5, "12.30", datetime(1970, 1, 1, tzinfo=UTC))]


def test_parquet_keeps_the_types_of_the_file(tmp_path: Path) -> None:
    out = io.BytesIO()
    table = {"id": ["a"], "n": pa.array([1], pa.int8()), "t": ["1.5"], "nest": [{"x": 1}]}
    pq.write_table(pa.table(table), out)
    seen = inspected(tmp_path, "f.parquet", out.getvalue())
    assert {c.name: c.type for c in seen.columns} == {"id": "string", "n": "long", "t": "double", "nest": None}
    assert seen.spec is not None
    assert parse_file(tmp_path / "f.parquet", spec=seen.spec).rows == [(0, "a", 1, 1.5)]


@pytest.mark.parametrize(
    ("content", "code", "rows"),
    [
        (b"", "EMPTY_FILE", 0),
        (b'user_id,b\na,1\nb,"x\n', "UNCLOSED_QUOTE", 1),
        (b"PK\x03\x04", "UNKNOWN_FORMAT", 0),
        (gzip.compress(b"user_id\n" + b"a\n" * 100)[:-4], "TRUNCATED_FILE", 0),
    ],
)
def test_file_fault_is_shown_not_raised(content: bytes, code: str, rows: int, tmp_path: Path) -> None:
    seen = inspected(tmp_path, "f.csv", content)
    assert seen.fault is not None
    assert (seen.fault.code, seen.rows) == (code, rows)
    assert seen.as_record()["fault"] == seen.fault.as_record()


def test_hints_name_the_remedy(tmp_path: Path) -> None:
    doubled = inspected(tmp_path, "f.csv", b"user_id,at,x,x\na,2024-01-01 00:00,,\n")
    assert doubled.as_record()["hints"] == ["columns that occur more than once cannot be kept: 'x'. Rename them"]
    assert (doubled.local_times, doubled.spec and doubled.spec.timezone) == (("at",), "UTC")


def test_only_the_first_rejects_are_kept_and_all_are_counted(tmp_path: Path) -> None:
    seen = inspected(tmp_path, "f.csv", b"user_id,c\n" + b"a\n" * 10_000)
    assert (len(seen.rejects), seen.rejected_by_code) == (20, {"field_count": 10_000})


def test_missing_file_raises(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="SOURCE_GONE"):
        inspect(tmp_path / "nope.csv")
