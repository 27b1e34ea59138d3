"""Folders by value: values cannot escape from their folder name, and rows stay together and in order."""

from datetime import date
from urllib.parse import unquote

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.sinks.folders import NO_VALUE, by_folder, folder, regroup
from schemas.errors import UserError
from schemas.manifest import ManifestFile


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("JP", "c=JP/"), ("..", "c=../"), ("a/../b", "c=a%2F..%2Fb/"), ("\\", "c=%5C/"), ("\0", "c=%00/"),
        ("50%", "c=50%25/"), ("日本", "c=日本/"), ("a b+c", "c=a b+c/"),
        ("", f"c={NO_VALUE}/"), (None, f"c={NO_VALUE}/"), (True, "c=true/"), (-7, "c=-7/"),
        (date(2026, 11, 5), "c=2026-11-05/"),
    ],
)  # fmt: skip
def test_folders_follow_hive_naming(value: object, name: str) -> None:
    assert folder(["c"], [value]) == name


def test_folders_of_several_columns_are_nested() -> None:
    assert folder(["a", "b"], ["x", 1]) == "a=x/b=1/"
    assert folder([], []) == ""


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_any_text_round_trips_as_one_folder_and_manifest_key(text: str) -> None:
    name = folder(["c"], [text])
    assert unquote(name.removeprefix("c=").removesuffix("/"), errors="strict") == text
    assert name.count("/") == 1
    record = {
        "rows": 1,
        "bytes": 1,
        "sha256": "",
        "digest": f"{'0' * 16}:1:{'0' * 16}:{'0' * 16}",
        "min": "",
        "max": "",
    }
    assert ManifestFile.from_record({**record, "key": f"{name}x.csv"}).key == f"{name}x.csv"


def test_value_too_long_for_a_folder_name_is_refused() -> None:
    assert len(folder(["c"], ["x" * 253])) == 256
    for text in ("x" * 254, "日" * 85, "/" * 85):
        with pytest.raises(UserError, match="PARTITION_VALUE_TOO_LONG"):
            folder(["c"], [text])


def test_rows_are_cut_at_every_change_of_value() -> None:
    values = ["", "JP", "JP", NO_VALUE, None, None]
    batch = pa.record_batch({"c": pa.array(values, pa.string()), "n": range(6)})
    pieces = [
        (place.folder, rows.column("n").to_pylist())
        for place, rows in by_folder([batch[:2], batch[2:2], batch[2:]], "c")
    ]
    no_value = f"c={NO_VALUE}/"
    assert pieces == [(no_value, [0]), ("c=JP/", [1]), ("c=JP/", [2]), (no_value, [3]), (no_value, [4, 5])]
    again = regroup(by_folder([batch[:2], batch[2:]], "c"), 10)
    assert [rows.column("n").to_pylist() for _, rows in again] == [[0], [1, 2], [3], [4, 5]]


@given(st.lists(st.integers(0, 9), max_size=8), st.integers(1, 7))
def test_regrouped_rows_are_the_same_rows_in_batches_of_one_size(sizes: list[int], rows: int) -> None:
    numbers = iter(range(sum(sizes)))
    batches = [pa.record_batch({"n": pa.array([next(numbers) for _ in range(size)], pa.int64())}) for size in sizes]
    found = [batch.column("n").to_pylist() for _, batch in regroup(by_folder(batches, ()), rows)]
    assert [number for batch in found for number in batch] == list(range(sum(sizes)))
    assert all(len(batch) == rows for batch in found[:-1])
