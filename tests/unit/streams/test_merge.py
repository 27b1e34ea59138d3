"""The merge: last row of a user wins, sorted by bytes, with the same result for every way of sorting."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.arrow import arrow_schema
from schemas.columns import Column, RowSchema
from schemas.row_digest import digest_rows
from streams import merge
from streams.merge import SpillingSort, merge_rows
from streams.ranges import Sort

MIB = 1024 * 1024
SCHEMA = RowSchema(
    columns=(
        Column(name="age", type="long"),
        Column(name="seen", type="timestamp"),
        Column(name="born", type="date"),
        Column(name="vip", type="boolean"),
        Column(name="score", type="double"),
    )
)
SPILLING = SpillingSort(rows_bytes=100 * MIB, memory_bytes=64 * MIB, temp_bytes=1024 * MIB, threads=1)


@pytest.fixture(params=["in memory", "on disk", "by DuckDB"])
def spilling(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> SpillingSort | None:
    """Every way of sorting. DuckDB takes what cannot be split; here, everything."""
    if request.param == "by DuckDB":

        def unsplittable(tables: Iterable[pa.Table], *_: object, sort_unsplittable: Sort, **__: object) -> Any:
            return sort_unsplittable(tables)

        monkeypatch.setattr(merge, "sorted_in_ranges", unsplittable)
    return None if request.param == "in memory" else SPILLING


def rows(*values: tuple[int, str, int | None]) -> pa.Table:
    return pa.table(
        {
            "_ordinal": [v[0] for v in values],
            "user_id": [v[1] for v in values],
            "age": [v[2] for v in values],
            "seen": pa.array([v[0] for v in values], pa.timestamp("us", tz="UTC")),
            "born": pa.array([v[0] for v in values], pa.date32()),
            "vip": [v[0] % 2 == 0 for v in values],
            "score": [v[0] / 2 for v in values],
        },
        schema=arrow_schema(SCHEMA, ordinal=True),
    )


def test_row_with_the_highest_ordinal_wins_in_any_order(spilling: SpillingSort | None, tmp_path: Path) -> None:
    part = merge_rows(
        [rows((7, "b", 70), (8, "a", 80)), rows((1, "b", 10), (2, "c", None))], SCHEMA, tmp_path, spilling=spilling
    )
    assert part is not None
    table = pq.read_table(part.path)
    assert table.select(["user_id", "age"]).to_pylist() == [
        {"user_id": "a", "age": 80},
        {"user_id": "b", "age": 70},
        {"user_id": "c", "age": None},
    ]
    assert part.read.count == 4
    assert part.kept == digest_rows(table, SCHEMA)


def test_ids_are_ordered_by_their_bytes_and_never_folded(spilling: SpillingSort | None, tmp_path: Path) -> None:
    ids = ["a", "A", "a ", "\u00e9", "e\u0301", "z", "\U0001f600", "\uffff", "ab"]
    part = merge_rows([rows(*((i, user, i) for i, user in enumerate(ids)))], SCHEMA, tmp_path, spilling=spilling)
    assert part is not None
    assert pq.read_table(part.path).column("user_id").to_pylist() == sorted(ids, key=lambda s: s.encode())


def test_both_sorts_write_the_same_rows(tmp_path: Path) -> None:
    tables = [rows(*((n * 1000 + i, f"user-{(i * 7919 + n) % 1500}", i) for i in range(1000))) for n in range(150)]
    (tmp_path / "m").mkdir()
    (tmp_path / "d").mkdir()
    memory = merge_rows(tables, SCHEMA, tmp_path / "m", spilling=None)
    duckdb = merge_rows(tables, SCHEMA, tmp_path / "d", spilling=SPILLING)
    assert memory is not None
    assert duckdb is not None
    assert (memory.read, memory.kept) == (duckdb.read, duckdb.kept)
    assert memory.kept.count == 1500
    assert pq.read_table(memory.path).equals(pq.read_table(duckdb.path))


def test_user_with_rows_in_several_batches_is_kept_once(spilling: SpillingSort | None, tmp_path: Path) -> None:
    part = merge_rows([rows(*((i, "same", i) for i in range(300_000)))], SCHEMA, tmp_path, spilling=spilling)
    assert part is not None
    assert pq.read_table(part.path).column("age").to_pylist() == [299_999]


def test_empty_input_makes_no_part(tmp_path: Path) -> None:
    assert merge_rows([], SCHEMA, tmp_path, spilling=None) is None
