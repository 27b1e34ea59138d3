"""An estimate from one partition is near the truth, and its interval holds the truth as often as it says."""

import numpy as np
import pytest

from orchestration.readers.sampling import Estimate, exactly, scaled


@pytest.mark.parametrize("users", [0, 3, 40, 1_000, 108_700])
@pytest.mark.parametrize("partitions", [2, 8, 64])
def test_interval_covers_the_truth_in_95_percent_of_cases(users: int, partitions: int) -> None:
    found = np.random.default_rng(20_262).binomial(users, 1 / partitions, 2_000)
    intervals = [scaled(int(n), partitions) for n in found]
    held = sum(one.low <= users <= one.high for one in intervals) / len(intervals)
    assert held >= 0.93
    assert all(one.low <= one.users <= one.high for one in intervals)


def test_interval_width_matches_the_sample() -> None:
    assert scaled(13_587, 8) == Estimate(108_696, 106_999, 110_420)
    assert scaled(0, 8) == Estimate(0, 0, 27)
    assert scaled(1, 8).low == 1


def test_count_over_all_partitions_is_exact() -> None:
    assert scaled(7, 1) == exactly(7) == Estimate(7, 7, 7)
