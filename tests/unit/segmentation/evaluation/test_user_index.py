"""Users by number."""

import numpy as np
import pyarrow as pa
import pytest

from segmentation.evaluation import user_index
from segmentation.evaluation.user_index import UserIndex


def test_users_are_numbered_in_order_of_first_appearance() -> None:
    index = UserIndex()
    assert index.add(pa.array(["b", "a", "b", "日本", "ab"])).tolist() == [0, 1, 0, 2, 3]
    assert index.find(pa.array(["日本", "c", "a"])).tolist() == [2, -1, 1]
    assert index.add(pa.array(["c", "a"])).tolist() == [4, 1]
    assert index.ids().to_pylist() == ["b", "a", "日本", "ab", "c"]


def test_a_hundred_thousand_users_keep_their_numbers() -> None:
    index = UserIndex()
    ids = [f"user-{n}" for n in range(100_000)]
    for first in range(0, 100_000, 7_000):
        some = ids[first : first + 7_000]
        assert index.add(pa.array(some)).tolist() == list(range(first, first + len(some)))
    assert index.find(pa.array(ids)).tolist() == list(range(100_000))
    assert index.ids().to_pylist() == ids
    assert index.nbytes / len(index) < 100


def test_slice_of_ids_is_read_as_a_slice() -> None:
    index = UserIndex()
    assert index.add(pa.array(["x", "y", "z", "x"]).slice(1, 3)).tolist() == [0, 1, 2]
    assert index.ids().to_pylist() == ["y", "z", "x"]


def test_empty_input_changes_nothing() -> None:
    index = UserIndex()
    assert index.add(pa.array([], pa.string())).tolist() == []
    assert (len(index), index.ids().to_pylist()) == (0, [])


def test_users_with_equal_hashes_stay_distinct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_index, "_hashes", lambda ids: np.full(len(ids), 5, np.uint64))
    index = UserIndex()
    assert index.add(pa.array(["a", "b", "c", "b"])).tolist() == [0, 1, 2, 1]
    assert index.add(pa.array(["d", "c", "aa", "a"])).tolist() == [3, 2, 4, 0]
    assert index.find(pa.array(["d", "e", "b"])).tolist() == [3, -1, 1]
