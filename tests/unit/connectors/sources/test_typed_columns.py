"""Text to values, strictly: nothing is rounded, trimmed or guessed."""

import math
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest

from connectors.sources.typed_columns import check_timezone, convert_text
from schemas.columns import Column, ColumnType
from schemas.errors import UserError

BAD = "bad"


def converted(texts: list[str | None], type_: ColumnType, timezone: str | None = None) -> list[Any]:
    """The values, with BAD for text that does not convert."""
    result = convert_text(pa.array(texts, pa.string()), Column(name="c", type=type_), ("",), timezone)
    bad = [False] * len(texts) if result.bad is None else result.bad.tolist()
    values = result.values.to_pylist()
    assert all(value is None for value, is_bad in zip(values, bad, strict=True) if is_bad)
    return [BAD if is_bad else value for value, is_bad in zip(values, bad, strict=True)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("-1", -1),
        ("+7", 7),
        ("007", 7),
        ("-0", 0),
        ("0" * 30 + "12", 12),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", BAD),
        ("-9223372036854775808", -(2**63)),
        ("-9223372036854775809", BAD),
        ("99999999999999999999", BAD),
        ("", None),
        (" 1", BAD),
        ("1 ", BAD),
        ("1.0", BAD),
        ("1e3", BAD),
        ("0x1F", BAD),
        ("1_000", BAD),
        ("1,000", BAD),
        ("-", BAD),
        ("+", BAD),
        ("--1", BAD),
        ("１", BAD),
    ],
)
def test_long(text: str, value: object) -> None:
    assert converted([text], "long") == [value]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0.0),
        ("1.5", 1.5),
        ("+1.5", 1.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e3", 1000.0),
        ("1E-2", 0.01),
        ("0.1", 0.1),
        ("1.7976931348623157e308", 1.7976931348623157e308),
        ("1e400", BAD),
        ("-1e400", BAD),
        ("5e-324", 5e-324),
        ("", None),
        ("nan", BAD),
        ("NaN", BAD),
        ("inf", BAD),
        ("-Infinity", BAD),
        ("0x1p3", BAD),
        ("1,5", BAD),
        ("1e", BAD),
        (".", BAD),
        ("e5", BAD),
        ("1.5 ", BAD),
    ],
)
def test_double(text: str, value: object) -> None:
    assert converted([text], "double") == [value]


def test_minus_zero_keeps_its_sign() -> None:
    (value,) = converted(["-0.0"], "double")
    assert math.copysign(1, value) == -1


def test_boolean() -> None:
    texts: list[str | None] = ["true", "TRUE", "True", "1", "false", "False", "0", "", "yes", "t", "2", " true"]
    assert converted(texts, "boolean") == [True, True, True, True, False, False, False, None, BAD, BAD, BAD, BAD]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2024-02-29", date(2024, 2, 29)),
        ("2000-02-29", date(2000, 2, 29)),
        ("1900-02-29", BAD),
        ("2023-02-29", BAD),
        ("1970-01-01", date(1970, 1, 1)),
        ("0001-01-01", date(1, 1, 1)),
        ("9999-12-31", date(9999, 12, 31)),
        ("0000-01-01", BAD),
        ("2024-13-01", BAD),
        ("2024-00-01", BAD),
        ("2024-04-31", BAD),
        ("2024-04-00", BAD),
        ("2024-4-1", BAD),
        ("2024/04/01", BAD),
        ("20240401", BAD),
        ("01.04.2024", BAD),
        ("2024-04-01T00:00", BAD),
        ("", None),
    ],
)
def test_date(text: str, value: object) -> None:
    assert converted([text], "date") == [value]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2024-01-02T03:04:05Z", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2024-01-02 03:04:05z", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2024-01-02T03:04Z", datetime(2024, 1, 2, 3, 4, tzinfo=UTC)),
        ("2024-01-02T03:04:05.5Z", datetime(2024, 1, 2, 3, 4, 5, 500_000, tzinfo=UTC)),
        ("2024-01-02T03:04:05.123456000Z", datetime(2024, 1, 2, 3, 4, 5, 123_456, tzinfo=UTC)),
        ("2024-01-02T03:04:05.1234567Z", BAD),
        ("2024-01-02T03:04:05+09:00", datetime(2024, 1, 1, 18, 4, 5, tzinfo=UTC)),
        ("2024-01-02T03:04:05-0530", datetime(2024, 1, 2, 8, 34, 5, tzinfo=UTC)),
        ("2024-01-02T03:04:05+09", datetime(2024, 1, 1, 18, 4, 5, tzinfo=UTC)),
        ("1969-12-31T23:59:59.999999Z", datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
        ("0001-01-01T00:00:00+01:00", BAD),
        ("9999-12-31T23:59:59-01:00", BAD),
        ("2024-01-02T03:04:05", BAD),
        ("2024-01-02", BAD),
        ("2024-01-02T24:00:00Z", BAD),
        ("2024-01-02T03:60:00Z", BAD),
        ("2016-12-31T23:59:60Z", BAD),
        ("2024-01-02T03:04:05.Z", BAD),
        ("2024-01-02T03:04:05 Z", BAD),
        ("2024-01-02T03:04:05+24:00", BAD),
        ("2024-01-02T03:04:", BAD),
        ("2024-01-02T03:04:05+09:0", BAD),
        ("1704164645", BAD),
        ("", None),
    ],
)
def test_timestamp_with_an_offset(text: str, value: object) -> None:
    assert converted([text], "timestamp") == [value]


@pytest.mark.parametrize(
    ("text", "zone", "value"),
    [
        ("2024-01-02T03:04:05", "Asia/Tokyo", datetime(2024, 1, 1, 18, 4, 5, tzinfo=UTC)),
        ("2024-07-01T12:00", "Europe/Berlin", datetime(2024, 7, 1, 10, tzinfo=UTC)),
        ("2024-01-01T12:00", "Europe/Berlin", datetime(2024, 1, 1, 11, tzinfo=UTC)),
        ("2024-07-01T12:00+00:00", "Europe/Berlin", datetime(2024, 7, 1, 12, tzinfo=UTC)),
        ("2024-03-31T01:59:59", "Europe/Berlin", datetime(2024, 3, 31, 0, 59, 59, tzinfo=UTC)),
        ("2024-03-31T02:30:00", "Europe/Berlin", BAD),  # the clock went from 2 to 3
        ("2024-10-27T02:30:00", "Europe/Berlin", BAD),  # half past two occurred twice
        ("2024-10-27T02:30:00+02:00", "Europe/Berlin", datetime(2024, 10, 27, 0, 30, tzinfo=UTC)),
    ],
)
def test_timestamp_in_the_zone_of_the_spec(text: str, zone: str, value: object) -> None:
    assert converted([text], "timestamp", zone) == [value]


def test_good_and_bad_values_of_a_column_are_independent() -> None:
    assert converted(["1", "x", "", None, "2", "y"], "long") == [1, BAD, None, None, 2, BAD]
    assert converted(["a", "", None], "string") == ["a", None, None]


def test_array_slice_converts_like_the_array() -> None:
    array = pa.array(["9", "1", None, "", "2"]).slice(1, 4)
    result = convert_text(array, Column(name="c", type="long"), ("",), None)
    assert result.values.to_pylist() == [1, None, None, 2]


def test_an_unknown_time_zone_is_a_user_error() -> None:
    check_timezone("Asia/Tokyo")
    check_timezone(None)
    for name in ("Nowhere/Land", "", "../etc/passwd"):
        with pytest.raises(UserError, match="BAD_TIMEZONE"):
            check_timezone(name)
