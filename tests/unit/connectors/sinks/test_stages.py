"""Stages run ahead, in order and within bounds, and leave no thread behind, however they end."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.sinks.stages import Stages, StageStopped
from connectors.storage.duck import batches, connect
from tests.integration.lake.support import limits

LONG_S = 30.0
"""Time to wait for what never comes."""


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def doubled(numbers: Iterator[int]) -> Iterator[int]:
    for number in numbers:
        yield 2 * number


@given(st.lists(st.integers()), st.integers(1, 4), st.integers(1, 4))
def test_items_pass_two_stages_in_order(numbers: list[int], one: int, other: int) -> None:
    with Stages() as stages:
        found = list(stages.prefetch(doubled(stages.prefetch(iter(numbers), most=one)), most=other))
    assert found == [2 * number for number in numbers]


def test_next_item_is_produced_while_the_previous_is_used() -> None:
    made = [threading.Event() for _ in range(5)]

    def making() -> Iterator[int]:
        for number, event in enumerate(made):
            event.set()
            yield number

    with Stages() as stages:
        for number in stages.prefetch(making(), most=1):
            assert all(event.wait(LONG_S) for event in made[: number + 2])


@pytest.mark.parametrize("most", [1, 3])
def test_stages_produce_at_most_the_allowed_backlog(most: int) -> None:
    asked = 0
    leads: list[int] = []

    def making() -> Iterator[int]:
        for number in range(100):
            leads.append(number + 1 - asked)
            yield number

    with Stages() as stages:
        numbers = stages.prefetch(making(), most=most)
        for _ in range(100):
            asked += 1
            next(numbers)
    assert len(leads) == 100
    assert max(leads) <= most


def test_error_of_a_stage_is_raised_once_at_the_end() -> None:
    def failing() -> Iterator[int]:
        yield from (1, 2)
        raise OSError("disk")

    with Stages() as stages:
        numbers = stages.prefetch(doubled(stages.prefetch(failing(), most=4)), most=4)
        with pytest.raises(OSError, match="disk"):
            list(numbers)
        assert list(numbers) == []


def test_failure_does_not_overtake_earlier_items() -> None:
    failed = threading.Event()

    def failing() -> Iterator[int]:
        yield from (1, 2)
        failed.set()
        raise OSError("disk")

    with Stages() as stages:
        numbers = stages.prefetch(failing(), most=3)
        assert failed.wait(LONG_S)
        assert [next(numbers), next(numbers)] == [1, 2]
        with pytest.raises(OSError, match="disk"):
            next(numbers)


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt()], ids=repr)
def test_failing_consumer_closes_all_generators_in_their_threads(error: BaseException) -> None:
    closed: list[str] = []

    def endless(name: str, numbers: Iterator[int] | None = None) -> Iterator[int]:
        try:
            while True:
                yield 1 if numbers is None else next(numbers)
        finally:
            closed.append(f"{name} in {threading.current_thread().name}")
            raise OSError("what cannot be closed hides no error")

    with pytest.raises(type(error)), Stages() as stages:  # noqa: PT012
        for _ in stages.prefetch(endless("writer", stages.prefetch(endless("reader"), most=1)), most=1):
            raise error
    assert sorted(closed) == ["reader in stage-0", "writer in stage-1"]


def test_leaving_wakes_waiting_stages_and_interrupts_production() -> None:
    began, interrupted = threading.Event(), threading.Event()
    calls: list[int] = []

    def asleep() -> Iterator[int]:
        began.set()
        if interrupted.wait(LONG_S):
            raise OSError("interrupted")
        yield 1

    def interrupt() -> None:
        calls.append(1)
        if len(calls) == 2:  # the first call came too early to interrupt anything
            interrupted.set()

    with Stages() as stages:
        stages.prefetch(doubled(stages.prefetch(asleep(), most=1, interrupt=interrupt)), most=1)
        assert began.wait(LONG_S)
    assert len(calls) >= 2


def test_endless_query_ends_with_its_stages(tmp_path: Path) -> None:
    years = "SELECT sum(a.range * b.range) FROM range(1e9::BIGINT) a, range(1e9::BIGINT) b"
    with connect(limits(tmp_path)) as connection:
        with Stages() as stages:
            stages.prefetch(batches(connection, years), most=1, interrupt=connection.interrupt)
        assert connection.execute("SELECT 1").fetchall() == [(1,)]


def test_finished_stages_take_and_start_nothing() -> None:
    with Stages() as stages:
        numbers = stages.prefetch(iter([1, 2]), most=2)
    with pytest.raises(StageStopped):
        next(numbers)
    with pytest.raises(StageStopped):
        stages.prefetch(iter([1]), most=1)
