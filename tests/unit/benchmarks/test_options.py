import pytest

from benchmarks.__main__ import sizes


def test_sizes_are_ascending_and_distinct() -> None:
    assert sizes("20000000,1000000, 5000000,1000000") == (1_000_000, 5_000_000, 20_000_000)


@pytest.mark.parametrize("text", ["", "1,", "many", "0", "5,-1", "1e6"])
def test_invalid_row_count_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        sizes(text)
