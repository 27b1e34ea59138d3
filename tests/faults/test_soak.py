"""A short soak, and growth distinguished from fluctuation."""

import pytest

from tests.faults.growth import Measure, grown
from tests.faults.soak import EXPORT_EVERY, RULE_EVERY, soak

MIB = 2**20
TURNS = 12
"""So many that every kind of file is among them."""


@pytest.mark.faults("twelve imports of the soak, which takes half an hour", seconds=200)
@pytest.mark.integration
@pytest.mark.timeout(900)
def test_a_short_soak_finds_nothing_wrong() -> None:
    done = soak(TURNS, report=print)
    assert done.wrong == []
    assert done.imports == done.ready == TURNS
    assert done.exports == TURNS // EXPORT_EVERY
    assert done.rules == TURNS // RULE_EVERY - 1


def measures(memory: list[int], open_files: list[int], files: list[int]) -> list[Measure]:
    return [
        Measure(turn=n, memory={"relay": m * MIB}, open_files={"relay": o}, files=f)
        for n, (m, o, f) in enumerate(zip(memory, open_files, files, strict=True))
    ]


def test_memory_growth_during_warm_up_counts_as_flat() -> None:
    assert grown(measures([90, 180, 220, 200, 230, 210, 225, 215], [9, 40, 30, 45, 32, 44, 31, 40], [5] * 8)) == []


def test_growing_memory_descriptors_and_files_are_named() -> None:
    steady = [10] * 8
    assert grown(measures([200, 200, 210, 220, 250, 280, 300, 320], steady, steady)) == [
        "relay has grown from 215 to 310 MiB"
    ]
    assert grown(measures(steady, [10, 10, 10, 10, 20, 30, 40, 50], steady)) == [
        "relay has 45 open files, it had 10",
    ]
    assert grown(measures(steady, steady, [1, 2, 3, 4, 20, 30, 40, 50])) == [
        "45 files in the home directory, there were 4",
    ]
