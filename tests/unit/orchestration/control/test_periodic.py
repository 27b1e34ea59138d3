import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from orchestration.control.periodic import Lane, PeriodicTask
from schemas.errors import FatalError, RetriableError


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def lane(run: Callable[[], object], *, every_s: float = 3_600, first_s: float | None = None) -> Lane:
    task = PeriodicTask(name="looker", every_s=every_s, run=lambda _: run(), first_s=first_s)
    return Lane(name="lane", tasks=[task])


def test_lane_survives_and_logs_task_failures(stop: threading.Event, caplog: pytest.LogCaptureFixture) -> None:
    befalls = [RetriableError("AWAY", "come back later"), FatalError("BROKEN", "for good"), KeyError("a fault")]
    fourth = threading.Event()

    def run() -> None:
        if befalls:
            raise befalls.pop(0)
        fourth.set()

    lane(run, every_s=0.001).start(stop)
    assert fourth.wait(30)
    said = [(record.levelno, record.getMessage(), record.exc_info is not None) for record in caplog.records]
    assert said == [
        (logging.WARNING, "looker: AWAY: come back later", False),
        (logging.ERROR, "looker: BROKEN: for good", False),
        (logging.ERROR, "looker", True),
    ]


@pytest.mark.parametrize("first_s", [None, 0, 0.01])
def test_first_run_is_delayed_as_declared(*, stop: threading.Event, first_s: float | None) -> None:
    ran = threading.Event()
    lane(ran.set, first_s=first_s).start(stop)
    assert ran.wait(0.2 if first_s is None else 30) is (first_s is not None)


def test_lane_stops_on_request(stop: threading.Event) -> None:
    thread = lane(lambda: None).start(stop)
    assert thread.is_alive()
    stop.set()
    thread.join(30)
    assert not thread.is_alive()


def test_tasks_run_at_their_interval_and_when_woken() -> None:
    ran: list[str] = []

    def task(name: str, every_s: float, *, on_wake: bool = False) -> PeriodicTask:
        return PeriodicTask(name=name, every_s=every_s, run=lambda _: ran.append(name), first_s=0, on_wake=on_wake)

    both = Lane(name="both", tasks=[task("often", 1, on_wake=True), task("seldom", 3)])
    for now in (10_000, 10_999, 11_000, 12_000, 13_000):
        both.tick(now)
    assert ran == ["often", "seldom", "often", "often", "often", "seldom"]
    both.tick(13_001, woken=True)
    assert ran[6:] == ["often"]


def test_resting_lane_runs_tasks_rarely_once_all_are_done() -> None:
    ran: list[int] = []
    quiet, busy = True, False

    def run(now: int) -> bool:
        ran.append(now)
        return busy

    resting = Lane(
        name="resting",
        tasks=[PeriodicTask(name="often", every_s=1, run=run, first_s=0, rest_s=5)],
        quiet=lambda _: quiet,
    )

    def tick(*seconds: int) -> list[int]:
        ran.clear()
        for now in seconds:
            resting.tick(now)
        return list(ran)

    assert tick(4_000, 5_000, 9_000, 10_000) == [4_000, 9_000]
    quiet = False
    assert tick(10_000, 10_500, 11_000) == [10_000, 11_000]
    quiet, busy = True, True
    assert tick(12_000, 16_000, 17_000) == [16_000, 17_000]
    busy = False
    assert tick(18_000, 19_000, 23_000) == [18_000, 23_000]


@pytest.mark.parametrize(
    ("error", "vital", "raised", "rest"),
    [
        (RetriableError("CATALOG_UNAVAILABLE", "away"), False, False, False),
        (RetriableError("CATALOG_UNAVAILABLE", "away"), True, False, False),
        (RetriableError("KAFKA_UNAVAILABLE", "away"), True, False, True),
        (RetriableError("CATALOG_REFUSED", "changed"), False, False, True),
        (RetriableError("CATALOG_REFUSED", "changed"), True, True, False),
        (FatalError("BROKEN", "for good"), False, False, True),
        (FatalError("BROKEN", "for good"), True, True, False),
        (KeyError("a fault"), False, False, True),
        (KeyError("a fault"), True, True, False),
    ],
)
def test_task_error_ends_only_a_vital_lane(*, error: Exception, vital: bool, raised: bool, rest: bool) -> None:
    ran: list[int] = []

    def fail(_: int) -> None:
        raise error

    tasks = [
        PeriodicTask(name="failing", every_s=1, run=fail),
        PeriodicTask(name="next", every_s=1, run=ran.append),
    ]
    both, found = Lane(name="both", tasks=tasks, vital=vital), None
    try:
        both.tick(1_000)
    except type(error) as exc:
        found = exc
    assert (found is error, ran == [1_000]) == (raised, rest)


def test_stop_during_the_check_is_kept() -> None:
    class SetAfterTheSecondLook(threading.Event):
        looks = 0

        def is_set(self) -> bool:
            found = super().is_set()
            self.looks += 1
            assert found or self.looks <= 2, "the stop is lost"
            if self.looks == 2:
                self.set()
            return found

    stop = SetAfterTheSecondLook()
    lane(lambda: None, every_s=0.001).run(stop, stop)
    assert stop.looks == 3
