"""Calls by time in the embedded engine, by a clock that the test sets."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from moto import mock_aws

from orchestration.local.engine import timers
from orchestration.local.engine.deploy import _timers
from orchestration.local.engine.timers import Timer, Timers, stored_timers
from orchestration.platform.settings import Settings
from orchestration.workflow.engine import engine_client
from orchestration.workflow.timers import NextCall

ARN = "arn:aws:lambda:us-east-1:123456789012:function:muster-{}"
WATCH = Timer(name="muster-watch", function_arn=ARN.format("WatchWorkers"), event="{}", every_s=60)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def names(due: list[Timer]) -> list[str]:
    return [timer.name for timer in due]


def test_rate_is_called_after_each_interval_and_never_twice_at_once() -> None:
    clock, calls = Clock(), list[Timer]()
    due = Timers(lambda: iter([WATCH]), calls.append, clock)
    assert due.due() == []
    clock.now += 60
    assert due.due() == [WATCH]
    assert due.due() == []
    clock.now += 60
    assert due.due() == [], "the last call still runs"
    due.make(WATCH)
    clock.now += 60
    assert due.due() == [WATCH]


def test_single_call_is_made_once_for_each_time_that_is_set() -> None:
    clock, at = Clock(), [1010.0]
    due = Timers(
        lambda: iter([Timer(name="muster-next-call", function_arn=ARN, event="{}", at_s=at[0])]), lambda _: None, clock
    )
    assert due.due() == []
    clock.now = 1010
    assert names(due.due()) == ["muster-next-call"]
    assert due.due() == []
    at[0] = 1020
    assert due.due() == []
    clock.now = 1020
    assert names(due.due()) == ["muster-next-call"]


def test_call_that_is_refused_is_made_later(monkeypatch: pytest.MonkeyPatch) -> None:
    waits, answers = list[float](), iter([OSError("no process"), None])
    monkeypatch.setattr("time.sleep", waits.append)

    def call(_: Timer) -> None:
        if (answer := next(answers)) is not None:
            raise answer

    Timers(lambda: iter([]), call).make(WATCH)
    assert waits == [timers.RETRY_S]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    made = Settings(home=tmp_path, engine_url="")
    monkeypatch.setattr("orchestration.local.engine.deploy._client", engine_client)
    with mock_aws():
        yield made


def test_timers_are_stored_and_the_next_call_moves(settings: Settings) -> None:
    values = {f"{name}Function": ARN.format(name) for name in ("WatchWorkers", "EnsureWorkers")}
    for _ in range(2):  # each start of the engine repeats it
        _timers(settings, values, "arn:aws:iam::123456789012:role/muster")
    rates = {timer.name: (timer.every_s, timer.event) for timer in stored_timers(settings)}
    assert rates == {
        "muster-watch": (60, "{}"),
        "muster-ensure": (3600, "{}"),
        "muster-housekeeping": (86_400, '{"housekeeping": true}'),
    }
    call = NextCall(lambda: engine_client(settings, "scheduler"), settings)
    first, second = 1_000_000_001, 1_000_000_500
    for at_ms, now_s, at_s in (
        (first * 1000 - 999, first - 60, first),
        (second * 1000, first - 30, first),  # the earlier one is still to come
        (second * 1000, first, second),
        (first * 1000, first - 10, first),
    ):
        call.set(at_ms, now_ms=now_s * 1000)
        [timer] = [timer for timer in stored_timers(settings) if timer.every_s is None]
        assert (timer.name, timer.function_arn, timer.at_s) == ("muster-next-call", ARN.format("EnsureWorkers"), at_s)
