"""Parquet: values that fit, values that do not, and files that lie."""

import io
import random
import struct
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.errors import UserError
from tests.unit.connectors.sources.reading import Found, parse_file, spec_of


def written(columns: dict[str, Any], **settings: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, **settings)
    return out.getvalue()


def read(content: bytes, tmp_path: Path, *columns: str, **settings: Any) -> Found:
    file = tmp_path / "f.parquet"
    file.write_bytes(content)
    return parse_file(file, spec=spec_of(*columns, **settings))


def test_every_type_that_fits_is_read(tmp_path: Path) -> None:
    columns = {
        "user_id": ["a", "b"],
        "n": pa.array([1, None], pa.int16()),
        "d": pa.array([1, 2], pa.int32()),
        "b": [True, None],
        "s": pa.array(["x", None]).dictionary_encode(),
        "day": pa.array([date(2024, 2, 29), None], pa.date64()),
        "at": pa.array([datetime(2024, 1, 1, tzinfo=UTC), None], pa.timestamp("ns", "Asia/Tokyo")),
        "text": ["7", "8"],
        "nested": [{"x": 1}, None],
    }
    found = read(
        written(columns), tmp_path, "n:long", "d:double", "b:boolean", "s", "day:date", "at:timestamp", "k:long=text"
    )
    assert found.rows == [
        (0, "a", 1, 1.0, True, "x", date(2024, 2, 29), datetime(2024, 1, 1, tzinfo=UTC), 7),
        (1, "b", None, 2.0, None, None, None, None, 8),
    ]
    assert found.summary is not None
    assert (found.summary.format, found.summary.source_bytes) == ("parquet", len(written(columns)))


DECIMALS = [
    (pa.decimal128(12, 2), ["12.30", "-0.05", "0.00", "9999999999.99"]),
    (pa.decimal128(38, 0), ["9" * 38, "-1", "0"]),
    (pa.decimal128(12, 10), ["0.0000000100", "0.0000000000", "-12.3000000000"]),
    (pa.decimal256(76, 38), [f"-{'9' * 38}.{'1' * 38}", f"0.{'0' * 37}1"]),
]


def decimals(type_: pa.DataType, texts: list[str]) -> bytes:
    values = pa.array([*map(Decimal, texts), None], type_)
    return written({"user_id": [f"u{n}" for n in range(len(values))], "d": values})


@pytest.mark.parametrize(("type_", "texts"), DECIMALS)
def test_decimal_becomes_exact_text_or_on_request_the_nearest_double(
    type_: pa.DataType, texts: list[str], tmp_path: Path
) -> None:
    content = decimals(type_, texts)
    assert [row[2] for row in read(content, tmp_path, "d").rows] == [*texts, None]
    assert [row[2] for row in read(content, tmp_path, "d:double:rounded").rows] == [*map(float, texts), None]
    with pytest.raises(UserError, match=r"with --column x=d, or round .* with --column x:double:rounded=d") as caught:
        read(content, tmp_path, "x:double=d")
    assert caught.value.code == "BAD_COLUMN_TYPE"


def test_a_whole_decimal_is_a_long_or_an_id_where_it_fits(tmp_path: Path) -> None:
    content = decimals(pa.decimal128(38, 0), ["7", "-1", "9" * 19])
    found = read(content, tmp_path, "d:long")
    assert [row[2] for row in found.rows] == [7, -1, None]
    assert found.codes == [(2, "bad_value")]
    assert read(content, tmp_path, "text=user_id", id_column="d").ids == ["7", "-1", "9" * 19]
    assert read(decimals(pa.decimal128(15, 0), ["9" * 15]), tmp_path, "d:double").rows[0][2] == float("9" * 15)


def test_integers_beyond_exact_doubles_are_rounded_on_request(tmp_path: Path) -> None:
    content = written({"user_id": ["a", "b"], "n": pa.array([2**63 - 1, -(2**53) - 1], pa.int64())})
    assert [row[2] for row in read(content, tmp_path, "n:double:rounded").rows] == [float(2**63), -float(2**53)]
    with pytest.raises(UserError, match=r"BAD_COLUMN: .* a long cannot be rounded, only a double"):
        spec_of("n:long:rounded")


def test_time_finer_than_a_microsecond_is_rejected_as_such(tmp_path: Path) -> None:
    stamps = pa.array([1_000, 1_001, -1], pa.timestamp("ns", "UTC"))
    found = read(written({"user_id": ["a", "b", "c"], "at": stamps}), tmp_path, "at:timestamp")
    assert found.ids == ["a"]
    assert [(reject.ordinal, reject.code, reject.reason) for reject in found.rejects] == [
        (
            1,
            "bad_value",
            "'1970-01-01 00:00:00.000001001Z' is finer than a microsecond: write the file with times in microseconds",
        ),
        (
            2,
            "bad_value",
            "'1969-12-31 23:59:59.999999999Z' is finer than a microsecond: write the file with times in microseconds",
        ),
    ]


@pytest.mark.parametrize(
    "ids",
    [
        pa.array(["1", "2"], pa.large_string()),
        pa.array([b"1", b"2"], pa.binary()),
        pa.array([1, 2], pa.uint8()),
        pa.array(["1", "2"]).dictionary_encode(),
    ],
)
def test_ids_are_text_or_integers(ids: pa.Array, tmp_path: Path) -> None:
    assert read(written({"user_id": ids}), tmp_path).ids == ["1", "2"]


def test_invalid_ids_are_rejected_with_their_ordinal(tmp_path: Path) -> None:
    ids = pa.array([b"a", None, b"", b" ", b"k" * 192, b"\xff", b"x\0", b"b"], pa.binary())
    found = read(written({"user_id": ids}), tmp_path)
    assert found.ids == ["a", "b"]
    assert found.codes == [
        (1, "id_missing"), (2, "id_empty"), (3, "id_blank"), (4, "id_too_long"), (5, "invalid_utf8"), (6, "nul_byte"),
    ]  # fmt: skip
    assert {(r.line, r.byte_offset) for r in found.rejects} == {(None, None)}


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        (pa.array([1, 2**63], pa.uint64()), "long"),
        (pa.array([1, 2**53 + 1], pa.int64()), "double"),
        (pa.array([1, float("nan")], pa.float32()), "double"),
        (pa.array([1, float("inf")], pa.float64()), "double"),
        (pa.array([0, 1], pa.int64()).cast(pa.timestamp("ns", "UTC")), "timestamp"),
        (pa.array([0, 2**60], pa.int64()).cast(pa.timestamp("ms", "UTC")), "timestamp"),
        (pa.array([0, 10**7], pa.int32()).cast(pa.date32()), "date"),
        (pa.array(["1", "x"]), "long"),
        (pa.array(["true", ""]), "boolean"),
    ],
)
def test_lossy_value_is_rejected(values: pa.Array, type_: str, tmp_path: Path) -> None:
    found = read(written({"user_id": ["a", "b"], "c": values}), tmp_path, f"c:{type_}")
    assert found.ids == ["a"]
    assert [(r.ordinal, r.code.value, r.column) for r in found.rejects] == [(1, "bad_value", "c")]


def test_wall_clock_time_requires_a_zone_in_the_spec(tmp_path: Path) -> None:
    content = written({"user_id": ["a", "b"], "at": [datetime(2024, 7, 1, 12), datetime(2024, 10, 27, 2, 30)]})  # noqa: DTZ001  # the point of the test
    assert read(content, tmp_path, "at:timestamp").codes == [(0, "no_timezone"), (1, "no_timezone")]
    found = read(content, tmp_path, "at:timestamp", timezone="Europe/Berlin")
    assert found.rows == [(0, "a", datetime(2024, 7, 1, 10, tzinfo=UTC))]
    assert found.codes == [(1, "bad_value")]
    assert found.rejects[0].reason.endswith(
        "does not exist, or exists twice, in Europe/Berlin: write it with an offset"
    )


@pytest.mark.parametrize(
    ("columns", "wanted", "code"),
    [
        ({"id": ["a"]}, [], "MISSING_COLUMN"),
        ({"user_id": [1.5]}, [], "BAD_COLUMN_TYPE"),
        ({"user_id": ["a"], "c": [1.5]}, ["c:long"], "BAD_COLUMN_TYPE"),
        ({"user_id": ["a"], "c": [5]}, ["c"], "BAD_COLUMN_TYPE"),
        ({"user_id": ["a"], "c": [{"x": 1}]}, ["c"], "BAD_COLUMN_TYPE"),
        ({"user_id": ["a"], "c": [[1]]}, ["c:long"], "BAD_COLUMN_TYPE"),
    ],
)
def test_columns_incompatible_with_the_spec_are_refused(
    columns: dict[str, Any], wanted: list[str], code: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=code):
        read(written(columns), tmp_path, *wanted)


def test_duplicate_column_is_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    pq.write_table(pa.table([pa.array(["a"]), pa.array(["b"])], names=["user_id", "user_id"]), out)
    with pytest.raises(UserError, match="DUPLICATE_COLUMN"):
        read(out.getvalue(), tmp_path)


def test_file_without_rows_is_valid(tmp_path: Path) -> None:
    assert read(written({"user_id": pa.array([], pa.string())}), tmp_path).rows == []


GOOD = written({"user_id": [f"user-{i}" for i in range(20_000)]}, write_page_checksum=True)


@pytest.mark.parametrize(
    "content",
    [
        GOOD[:6],
        GOOD[: len(GOOD) // 2],
        GOOD[:-1],
        GOOD[:-8] + b"\xff\xff\xff\x7fPAR1",
        GOOD[:-8] + b"\0\0\0\0PAR1",
        b"PAR1" + random.Random(5).randbytes(900) + struct.pack("<I", 900) + b"PAR1",  # garbage, not secrets
        GOOD[:1_000] + bytes([GOOD[1_000] ^ 1]) + GOOD[1_001:],
        GOOD[: len(GOOD) - 60_000] + b"\0" * 30_000 + GOOD[len(GOOD) - 30_000 :],
    ],
    ids=["magic only", "half", "last byte", "huge footer", "no footer", "garbage footer", "one bit", "zeros"],
)
def test_a_truncated_or_lying_file_is_corrupt(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read(content, tmp_path)
    assert caught.value.code == "CORRUPT_FILE"


def test_footer_with_too_many_rows_is_corrupt(tmp_path: Path) -> None:
    """The row count in the footer is a varint: 20,000 becomes 20,001."""
    footer = GOOD.rindex(b"user_id") - 40
    lying = GOOD[:footer] + GOOD[footer:].replace(b"\xc0\xb8\x02", b"\xc2\xb8\x02")
    assert lying != GOOD
    with pytest.raises(UserError) as caught:
        read(lying, tmp_path)
    assert caught.value.code == "CORRUPT_FILE"


def test_page_bomb_is_refused_before_reading(tmp_path: Path) -> None:
    settings = {"compression": "zstd", "use_dictionary": False, "write_statistics": False}
    content = written({"user_id": ["ann"], "note": ["x" * 70_000_000]}, **settings)
    assert len(content) < 200_000
    declared = pq.read_metadata(io.BytesIO(content)).row_group(0).total_byte_size
    with pytest.raises(UserError) as caught:
        read(content, tmp_path, "note")
    assert (caught.value.code, caught.value.detail["source_bytes"]) == ("COMPRESSION_BOMB", len(content))
    assert caught.value.detail["decoded_bytes"] == declared  # by the footer, and not by what was read
    fits = written({"user_id": [f"user-{n}" for n in range(9)], "note": ["x" * 300_000] * 9}, **settings)
    assert len(read(fits, tmp_path, "note").ids) == 9  # a small file is not a bomb, however well it compresses


def test_dictionary_bomb_is_refused_after_decoding(tmp_path: Path) -> None:
    rows = 100_000  # more than a batch, which alone is larger than what needs no ratio
    content = written({"user_id": ["ann"] * rows, "note": pa.array(["x" * 1_200]).take([0] * rows)})
    with pytest.raises(UserError) as caught:
        read(content, tmp_path, "note")
    detail = caught.value.detail
    assert (caught.value.code, detail["source_bytes"]) == ("COMPRESSION_BOMB", len(content))
    assert isinstance(detail["decoded_bytes"], int)
    assert detail["decoded_bytes"] < rows * 1_200  # not all of it
    assert len(read(content, tmp_path).ids) == rows  # a dropped column is not decoded


def outcome(content: bytes, tmp_path: Path) -> str:
    try:
        found = read(content, tmp_path)
    except UserError as exc:
        return exc.code
    return "the rows" if found.ids == [f"user-{i}" for i in range(20_000)] else "wrong rows"


def test_random_damage_is_a_named_error_and_never_a_wrong_row(tmp_path: Path) -> None:
    chance = random.Random(7)  # seeded, so repeatable
    for _ in range(12):
        damaged = bytearray(GOOD)
        for _ in range(3):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        assert outcome(bytes(damaged), tmp_path) in {
            "the rows", "CORRUPT_FILE", "MISSING_COLUMN", "BAD_COLUMN_TYPE", "PARSER_MEMORY", "PARSER_CRASHED",
        }  # fmt: skip
