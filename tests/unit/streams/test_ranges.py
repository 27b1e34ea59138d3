"""Sorting by ranges of ids: the order of a plain sort, one range in memory at a time, however ids are spread."""

import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from streams.ranges import TOO_LARGE, sorted_in_ranges

RANGE_BYTES = 4096
SCHEMA = pa.schema([("_ordinal", pa.int64()), ("user_id", pa.string())])


def tables(ids: list[str], at_once: int = 300) -> list[pa.Table]:
    whole = pa.table({"_ordinal": list(range(len(ids))), "user_id": ids}, schema=SCHEMA)
    return [whole.slice(first, at_once) for first in range(0, len(ids), at_once)]


class Sorts:
    """Sorts in memory, and remembers how much at a time."""

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
            small=lambda rows: self.sort(rows, self.small),
            stubborn=lambda rows: self.sort(rows, self.stubborn),
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
def test_rows_come_in_the_order_of_a_plain_sort(spread: str, tmp_path: Path) -> None:
    ids = SPREADS[spread]
    assert Sorts().run(tables(ids), tmp_path) == expected(ids)


@pytest.mark.parametrize("spread", ["random", "sorted already", "the other way round", "first rows all the same"])
def test_no_more_than_a_range_is_sorted_at_one_time(spread: str, tmp_path: Path) -> None:
    sorts = Sorts()
    sorts.run(tables(SPREADS[spread]), tmp_path)
    assert max(sorts.small) <= 2 * TOO_LARGE * RANGE_BYTES  # sizes of slices count shared offsets too
    assert sorts.stubborn == []
    assert len(sorts.small) > 4


def test_a_user_with_more_rows_than_a_range_is_left_to_the_sort_that_can(tmp_path: Path) -> None:
    ids = ["same"] * 4000
    sorts = Sorts()
    assert sorts.run(tables(ids), tmp_path) == expected(ids)
    assert sorts.small == []
    assert len(sorts.stubborn) == 1


def test_nothing_is_left_in_the_folder(tmp_path: Path) -> None:
    Sorts().run(tables(SPREADS["sorted already"]), tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
