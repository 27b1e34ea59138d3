"""Sorting ids by their bytes equals Python's sort of the bytes, with ties in the order of their ranks."""

from collections.abc import Sequence
from random import Random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmentation.sorting import sort_strings


def expected(strings: list[str], ranks: Sequence[int] | None = None) -> list[int]:
    return sorted(range(len(strings)), key=lambda i: (strings[i].encode(), i if ranks is None else ranks[i]))


@pytest.mark.parametrize(
    "strings",
    [
        [],
        [""],
        ["b", "a", "", "a"],
        ["a\0", "a", "a\0\0", "a"] * 20,
        [f"customer-{n % 7:09d}" for n in range(500)],
        [f"{'x' * 100}{n % 50}" for n in range(300)],
        ["same"] * 1000,
        ["\u00e9", "e\u0301", "\uffff", "\U0001f600", "z", "Z", "z "],
    ],
    ids=["none", "one empty", "short", "NULs at the end", "long prefix", "very long prefix", "one user", "unicode"],
)
def test_ids_are_sorted_by_their_bytes(strings: list[str]) -> None:
    assert sort_strings(pa.array(strings, pa.string())).tolist() == expected(strings)
    backwards = range(len(strings))[::-1]
    assert sort_strings(pa.array(strings, pa.string()), np.array(backwards)).tolist() == expected(strings, backwards)


@given(st.lists(st.text(alphabet="ab\0\u00e9", max_size=20), max_size=200), st.randoms(use_true_random=False))
def test_any_ids_are_sorted_by_their_bytes(strings: list[str], random: Random) -> None:
    assert sort_strings(pa.array(strings, pa.string())).tolist() == expected(strings)
    ranks = random.sample(range(1000), len(strings))
    found = sort_strings(pa.array(strings, pa.string()), np.array(ranks, np.int64))
    assert found.tolist() == expected(strings, ranks)


def test_a_slice_of_an_array_is_sorted_within_itself() -> None:
    assert sort_strings(pa.array(["z", "c", "a", "b", "z"]).slice(1, 3)).tolist() == [1, 2, 0]
