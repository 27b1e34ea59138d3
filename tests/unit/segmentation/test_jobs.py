import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.messages import JobState
from segmentation.jobs import FINAL, JOB_LIFE_CYCLE
from segmentation.life_cycle import Change

STATES: tuple[JobState, ...] = (
    "REGISTERED",
    "VERIFYING",
    "IMPORTING",
    "AWAITING",
    "BUILDING",
    "PUBLISHING",
    "READY",
    "FAILED",
    "SUPERSEDED",
    "CANCELLED",
)


def test_replace_job_can_take_every_regular_step() -> None:
    way: list[JobState] = ["REGISTERED", "VERIFYING", "IMPORTING", "AWAITING", "PUBLISHING", "READY"]
    assert [JOB_LIFE_CYCLE.change(a, b) for a, b in itertools.pairwise(way)] == [Change.APPLIED] * 5


def test_repeated_change_is_recognised() -> None:
    assert [JOB_LIFE_CYCLE.change(state, state) for state in STATES] == [Change.ALREADY] * len(STATES)


def test_a_final_state_is_never_left() -> None:
    assert {
        (a, b) for a in STATES for b in STATES if a in FINAL and JOB_LIFE_CYCLE.change(a, b) is Change.APPLIED
    } == set()
    assert {"READY", "FAILED", "SUPERSEDED", "CANCELLED"} == FINAL


def test_publishing_job_cannot_be_cancelled() -> None:
    assert JOB_LIFE_CYCLE.change("PUBLISHING", "CANCELLED") is Change.REFUSED
    assert {"REGISTERED", "VERIFYING", "IMPORTING", "AWAITING", "BUILDING"} == JOB_LIFE_CYCLE.cancellable


@pytest.mark.parametrize(
    ("current", "wanted"),
    [("REGISTERED", "PUBLISHING"), ("VERIFYING", "AWAITING"), ("IMPORTING", "READY"), ("AWAITING", "READY")],
)
def test_no_step_is_skipped(current: JobState, wanted: JobState) -> None:
    assert JOB_LIFE_CYCLE.change(current, wanted) is Change.REFUSED


@given(st.lists(st.sampled_from(STATES), max_size=40))
def test_job_is_published_only_through_publishing(wishes: list[JobState]) -> None:
    state: JobState = "REGISTERED"
    way: list[JobState] = [state]
    for wish in wishes:
        if JOB_LIFE_CYCLE.change(state, wish) is Change.APPLIED:
            state = wish
            way.append(state)
    if state == "READY":
        assert way[-2] == "PUBLISHING"
        assert way.index("IMPORTING") < way.index("AWAITING") < way.index("PUBLISHING")
