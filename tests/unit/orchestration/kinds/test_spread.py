"""How partitions are grouped to be built and read side by side."""

import random
from itertools import chain

import pytest

from orchestration.kinds.compute_target import MEMBER_BYTES
from orchestration.kinds.spread import groups_of
from orchestration.platform.settings import Settings


def test_groups_that_functions_take_have_a_units_bytes() -> None:
    settings = Settings(unit_bytes=25 * MEMBER_BYTES, units_at_once=2)
    assert groups_of(settings, [10, 10, 10, 5, 30, 1]) == ((0, 1), (2, 3), (4,), (5,))


@pytest.mark.parametrize(
    ("partitions", "at_once", "sizes"),
    [(64, 2, [32, 32]), (64, 6, [11, 11, 11, 11, 11, 9]), (8, 4, [2, 2, 2, 2]), (8, 32, [1] * 8), (3, 1, [3])],
)
def test_groups_that_need_a_task_each_take_one_turn(partitions: int, at_once: int, sizes: list[int]) -> None:
    settings = Settings(units_at_once=at_once)
    assert [len(group) for group in groups_of(settings, [10_000_000] * partitions)] == sizes


def test_groups_have_all_partitions_in_order_and_about_as_many_rows() -> None:
    seeded = random.Random(7)
    for _ in range(300):
        rows = [seeded.randrange(20_000_000) for _ in range(seeded.randrange(1, 80))]
        at_once = seeded.randrange(1, 40)
        groups = groups_of(Settings(units_at_once=at_once, lambda_file_bytes=0, unit_bytes=MEMBER_BYTES), rows)
        assert [*chain.from_iterable(groups)] == [*range(len(rows))]
        assert len(groups) <= at_once or len(rows) <= at_once
        assert max(sum(rows[one] for one in group) for group in groups) <= -(-sum(rows) // at_once) + max(rows)
