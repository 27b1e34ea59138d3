"""When a consumer group counts as stalled."""

import pytest

from orchestration.control.stall_detector import StallDetector

PLACE = ("muster.job-events", 0)


@pytest.mark.parametrize(
    ("looks", "seconds"),
    [
        ([(-1, 0), (-1, 0)], [0, 0]),
        ([(5, 5), (5, 5), (5, 6), (5, 6), (5, 9)], [0, 0, 0, 10, 20]),
        ([(5, 9), (6, 10), (7, 11), (8, 12)], [0, 0, 0, 0]),
        ([(-1, 1), (-1, 1), (1, 1), (1, 2), (2, 3)], [0, 10, 0, 0, 0]),
    ],
    ids=["nothing was ever sent", "nobody fetches", "behind, and moving", "it goes on"],
)
def test_stall_requires_lag_without_acknowledgements(looks: list[tuple[int, int]], seconds: list[float]) -> None:
    group = StallDetector()
    found = [
        group.seconds({PLACE: committed}, {PLACE: end}, 1_000 + 10_000 * n) for n, (committed, end) in enumerate(looks)
    ]
    assert found == seconds
