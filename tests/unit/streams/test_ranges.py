"""Sorting by ranges of ids: the order of a plain sort, one range in memory at a time, for any spread of ids."""

import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from segmentation.sorting import sort_strings
from streams import ranges
from streams.ranges import SPLIT_FACTOR, sorted_in_ranges

RANGE_BYTES = 4096
SCHEMA = pa.schema([("_ordinal", pa.int64()), ("user_id", pa.string())])


def tables(ids: list[str], at_once: int = 300) -> list[pa.Table]:
    whole = pa.table({"_ordinal": list(range(len(ids))), "user_id": ids}, schema=SCHEMA)
    return [whole.slice(first, at_once) for first in range(0, len(ids), at_once)]


class Sorts:
    """Sorts in memory, and records the size of each sort."""

    def __init__(self) -> None:
        self.small: list[int] = []
        self.stubborn: list[int] = []

    def sort(self, rows: Iterable[pa.Table], sizes: list[int]) -> Iterator[pa.Table]:
        table = pa.concat_tables(rows)
        sizes.append(table.nbytes)
        yield table.sort_by([("user_id", "ascending"), ("_ordinal", "ascending")])

    def run(self, given: list[pa.Table], folder: Path) -> list[tuple[str, int]]:
        found = sorted_in_ranges(
            given,
            sum(table.nbytes for table in given),
            folder,
            sort_in_memory=lambda rows: self.sort(rows, self.small),
            sort_unsplittable=lambda rows: self.sort(rows, self.stubborn),
            range_bytes=RANGE_BYTES,
        )
        return [(row["user_id"], row["_ordinal"]) for table in found for row in table.to_pylist()]


def expected(ids: list[str]) -> list[tuple[str, int]]:
    return sorted(((user, k) for k, user in enumerate(ids)), key=lambda row: (row[0].encode(), row[1]))


SPREADS = {
    "random": [f"{random.Random(k).getrandbits(64):016x}" for k in range(4000)],
    "sorted already": [f"user-{k:08d}" for k in range(4000)],
    "the other way round": [f"user-{k:08d}" for k in reversed(range(4000))],
    "few users often": [f"user-{k % 7}" for k in range(4000)],
    "first rows all the same": ["same"] * 300 + [f"user-{k:08d}" for k in range(4000)],
    "bytes above ASCII": [chr(0xE000 + k % 50) + chr(0x10000 + k) + "\u00e9" for k in range(4000)],
    "one row": ["alone"],
    "none": [],
}


@pytest.mark.parametrize("spread", SPREADS)
def test_ranges_yield_the_order_of_a_plain_sort(spread: str, tmp_path: Path) -> None:
    ids = SPREADS[spread]
    assert Sorts().run(tables(ids), tmp_path) == expected(ids)


@pytest.mark.parametrize("spread", SPREADS)
def test_ranges_of_many_batches_yield_the_order_of_a_plain_sort(
    spread: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "PIECE_ROWS", 1)
    ids = SPREADS[spread]
    assert Sorts().run([pa.concat_tables(tables(ids, 7))] if ids else [], tmp_path) == expected(ids)


@pytest.mark.parametrize(
    ("portion_bytes", "sizes"),
    [(10**6, [300, 300, *[300] * 12, 150]), (5000, [200, 200, *[200] * 19, 50])],
    ids=["by rows", "by bytes"],
)
def test_batches_are_cut_in_groups_of_bounded_size(
    portion_bytes: int, sizes: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sorted_at_once = []

    def sort(ids: pa.StringArray) -> npt.NDArray[np.int64]:
        sorted_at_once.append(len(ids))
        return sort_strings(ids)

    monkeypatch.setattr(ranges, "sort_strings", sort)
    monkeypatch.setattr(ranges, "PIECE_ROWS", 10)
    monkeypatch.setattr(ranges, "PORTION_BYTES", portion_bytes)  # a batch of 100 rows has 2,804
    ids = SPREADS["random"]
    given = [pa.concat_tables(tables(ids, 100)), *tables(ids[:50])]
    assert -(-sum(table.nbytes for table in given) // RANGE_BYTES) == 28  # ranges, so at least 280 rows at a time
    Sorts().run(given, tmp_path)
    assert sorted_at_once == sizes  # the second sort is that of the sample, all ids of the first rows


@pytest.mark.parametrize("spread", ["random", "sorted already", "the other way round", "first rows all the same"])
def test_at_most_one_range_is_sorted_at_a_time(spread: str, tmp_path: Path) -> None:
    sorts = Sorts()
    sorts.run(tables(SPREADS[spread]), tmp_path)
    assert max(sorts.small) <= 2 * SPLIT_FACTOR * RANGE_BYTES  # sizes of slices count shared offsets too
    assert sorts.stubborn == []
    assert len(sorts.small) > 4


def test_user_with_more_rows_than_a_range_goes_to_the_external_sort(tmp_path: Path) -> None:
    ids = ["same"] * 4000
    sorts = Sorts()
    assert sorts.run(tables(ids), tmp_path) == expected(ids)
    assert sorts.small == []
    assert len(sorts.stubborn) == 1


def test_sort_leaves_no_files(tmp_path: Path) -> None:
    Sorts().run(tables(SPREADS["sorted already"]), tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
