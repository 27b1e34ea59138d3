"""Sets of users by flags."""

import numpy as np

from segmentation.evaluation.columns import Users
from segmentation.evaluation.marks import Marks


def users(*numbers: int) -> Users:
    return np.array(numbers, np.int32)


def test_users_of_several_lists_are_distinct_and_ascending() -> None:
    marks = Marks()
    assert marks.distinct(10, users(7, 2, 7), users(), users(9, 2)).tolist() == [2, 7, 9]
    assert marks.distinct(10).tolist() == []


def test_marks_are_cleared_between_calls() -> None:
    marks = Marks()
    assert marks.among(users(1, 4, 9), users(9, 1, 9)).tolist() == [True, False, True]
    assert marks.among(users(1, 4, 9, 200), users(4)).tolist() == [False, True, False, False]
    assert marks.distinct(201, users(3)).tolist() == [3]
    assert marks.among(users(), users()).tolist() == []
