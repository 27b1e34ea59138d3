"""Rows of a query as a file, which exists whole or not at all."""

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from connectors.sinks.row_files import write_rows
from schemas.errors import UserError

COLUMNS = [
    {"name": "user_id", "type": "VARCHAR"},
    {"name": "n", "type": "BIGINT"},
    {"name": "total", "type": "HUGEINT"},
    {"name": "price", "type": "DECIMAL(9,2)"},
    {"name": "born", "type": "DATE"},
    {"name": "at", "type": "TIMESTAMP WITH TIME ZONE"},
    {"name": "ok", "type": "BOOLEAN"},
    {"name": "tags", "type": "VARCHAR[]"},
]
FULL = ['=a,"b"', 7, 2**70, "1.50", "2026-12-01", "2026-12-01 09:00:00.5+00:00", True, "['x', 'y']"]
ROWS: list[list[Any]] = [FULL, [None] * 8]


def test_parquet_has_the_types_of_the_query(tmp_path: Path) -> None:
    target = tmp_path / "a.parquet"
    assert write_rows(COLUMNS, iter(ROWS), target, overwrite=False) == 2
    at = dt.datetime(2026, 12, 1, 9, 0, 0, 500_000, dt.UTC)
    values = ['=a,"b"', 7, Decimal(2**70), Decimal("1.50"), dt.date(2026, 12, 1), at, True, "['x', 'y']"]
    names = [one["name"] for one in COLUMNS]
    assert parquet.read_table(target).to_pylist() == [dict(zip(names, values, strict=True)), dict.fromkeys(names)]
    assert target.stat().st_mode & 0o777 == 0o600


def test_an_empty_result_is_a_file_with_columns(tmp_path: Path) -> None:
    for name in ("a.parquet", "a.csv", "a.jsonl"):
        assert write_rows(COLUMNS[:2], iter(()), tmp_path / name, overwrite=False) == 0
    assert parquet.read_schema(tmp_path / "a.parquet").names == ["user_id", "n"]
    assert (tmp_path / "a.csv").read_text() == "user_id,n\n"
    assert (tmp_path / "a.jsonl").read_text() == ""


def test_text_files_have_a_line_for_each_row(tmp_path: Path) -> None:
    rows: list[list[Any]] = [['a\n"b"', 1], ["\u6771", None]]
    write_rows(COLUMNS[:2], iter(rows), tmp_path / "A.CSV", overwrite=False)
    assert (tmp_path / "A.CSV").read_bytes() == 'user_id,n\n"a\n""b""",1\n\u6771,\n'.encode()
    write_rows(COLUMNS[:2], iter(rows), tmp_path / "a.jsonl", overwrite=False)
    text = '{"user_id": "a\\n\\"b\\"", "n": 1}\n{"user_id": "\u6771", "n": null}\n'
    assert (tmp_path / "a.jsonl").read_text("utf-8") == text


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.jsonl"])
def test_a_query_that_fails_leaves_what_was_there(name: str, tmp_path: Path) -> None:
    def failing() -> Iterator[list[Any]]:
        yield from [["a", 1]] * 30_000
        raise UserError("SQL_TIMEOUT", "too long")

    target = tmp_path / name
    target.write_text("before")
    with pytest.raises(UserError, match="SQL_TIMEOUT"):
        write_rows(COLUMNS[:2], failing(), target, overwrite=True)
    with pytest.raises(UserError, match="DESTINATION_EXISTS"):
        write_rows(COLUMNS[:2], iter([["a", 1]]), target, overwrite=False)
    assert [one.name for one in tmp_path.iterdir()] == [name]
    assert target.read_text() == "before"
    write_rows(COLUMNS[:2], iter([["a", 1]]), target, overwrite=True)
    assert target.read_bytes() != b"before"


@pytest.mark.parametrize(
    ("columns", "row", "said"),
    [
        ([{"name": "n", "type": "BIGINT"}] * 2, [1, 2], "two columns are called 'n': name them with AS"),
        ([{"name": "born", "type": "DATE"}], ["290000-01-01"], "column 'born' has a value that Parquet cannot hold"),
    ],
)
def test_columns_that_no_file_can_have_are_refused(
    columns: list[dict[str, str]], row: list[Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="BAD_SQL") as error:
        write_rows(columns, iter([row]), tmp_path / "a.parquet", overwrite=False)
    assert said in str(error.value)
    assert not list(tmp_path.iterdir())
