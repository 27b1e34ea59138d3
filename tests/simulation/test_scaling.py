"""Schedules of workers that come and go: no work waits without a worker, all is off at last, and bugs are found."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from orchestration.operations.scaling import AGAIN_MS
from schemas.errors import MusterError
from segmentation.scaling import Scaled
from tests.mutation.patches import Patches, installed
from tests.simulation.scaling import simulating

SEEDS = range(9)
HUNTED = 100
MANY_SEEDS = 60


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_no_work_waits_without_a_worker_and_all_is_off_at_last() -> None:
    with simulating() as run:
        assert [found for seed in SEEDS if (found := run(seed))] == []


@pytest.mark.faults("test_no_work_waits_without_a_worker_and_all_is_off_at_last, with fewer schedules", seconds=90)
@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(2))
def test_no_work_waits_without_a_worker_in_many_schedules(part: int) -> None:
    first = len(SEEDS) + part * MANY_SEEDS
    with simulating() as run:
        assert [found for seed in range(first, first + MANY_SEEDS) if (found := run(seed))] == []


def no_second_look(patches: Patches) -> None:
    """Whoever leaves does not look whether somebody came meanwhile."""

    def make(_: Any) -> Any:
        def follow(self: Any, *, lag: Any, activity_lag: Any, now_ms: int) -> None:
            decision = self._decisions.decide(self._limits, lag=lag, activity_lag=activity_lag, now_ms=now_ms)
            if not decision.wanted[Scaled.RELAY].count:
                self._schedule(now_ms, now_ms + AGAIN_MS)
            self._apply(decision.of(decision.due), now_ms)

        return follow

    patches.replace("orchestration.operations.scaling:Scaler.follow", make)


def leaving_with_lag(patches: Patches) -> None:
    """The control plane decides as if every message were acknowledged."""

    def make(original: Any) -> Any:
        def follow(self: Any, *, lag: Any, activity_lag: Any, now_ms: int) -> None:
            del lag, activity_lag
            original(self, lag=0, activity_lag=0, now_ms=now_ms)

        return follow

    patches.replace("orchestration.operations.scaling:Scaler.follow", make)


def committed_after_the_count(patches: Patches) -> None:
    """Whoever adds work starts workers first, and commits that they are wanted afterwards."""

    def make(_: Any) -> Any:
        def ensure(self: Any, now_ms: int) -> None:
            try:
                start_and_commit(self, now_ms)
            except MusterError:
                self._call_again(now_ms)

        def start_and_commit(self: Any, now_ms: int) -> None:
            self._services.set_count(Scaled.RELAY, 1)  # all work needs it
            self._services.kernel.sleep(5)  # others act meanwhile
            decision = self._decisions.decide(self._limits, now_ms=now_ms)
            for part, count in decision.of(decision.due).items():
                if part != Scaled.RELAY:
                    self._services.set_count(part, count)
            self._decisions.applied(decision.of(decision.due), now_ms=now_ms)

        return ensure

    patches.replace("orchestration.operations.scaling:Scaler.ensure", make)


def schedules_forgotten(patches: Patches) -> None:
    """Nobody lets a call be made for what falls due."""
    patches.replace("orchestration.operations.scaling:Scaler._schedule", lambda _: lambda *_given: None)


@pytest.mark.parametrize(
    ("bug", "found_last"),
    [(no_second_look, 4), (leaving_with_lag, 24), (committed_after_the_count, 12), (schedules_forgotten, 5)],
)
def test_bug_is_found(bug: Callable[[Patches], None], found_last: int) -> None:
    """`found_last`: the seed that found it last. Where the schedules have changed since, another one is hunted for."""
    with installed(bug), simulating() as run:
        assert any(run(seed) for seed in (found_last, *range(HUNTED))), f"{bug.__doc__} No schedule shows it."
