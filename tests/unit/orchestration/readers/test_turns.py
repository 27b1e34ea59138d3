"""A tenant's next query, while another one runs or ends."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestration.readers import turns as turns_module
from orchestration.readers.cancellation import Cancellation
from orchestration.readers.turns import Turns
from schemas.errors import UserError

GIVEN_UP = UserError("GONE", "the client has left")


def test_next_query_waits_for_the_end_of_an_abandoned_one(monkeypatch: pytest.MonkeyPatch) -> None:
    turns, waits, happened = Turns(), threading.Event(), list[str]()
    wait_for = turns._ended.wait_for

    def wait(predicate: Callable[[], bool], timeout: float) -> bool:
        waits.set()
        return wait_for(predicate, timeout)

    def query() -> None:
        with Cancellation() as second, turns.alone("acme", second):
            happened.append("the second runs")

    with ThreadPoolExecutor(1) as pool:
        with Cancellation() as first, turns.alone("acme", first):
            first.set(GIVEN_UP)
            monkeypatch.setattr(turns._ended, "wait_for", wait)
            second = pool.submit(query)
            assert waits.wait(30)
            happened.append("the first ends")
        second.result(30)
    assert happened == ["the first ends", "the second runs"]


@pytest.mark.parametrize("first_is", ["running", "given up"])
def test_query_is_refused_while_another_runs(monkeypatch: pytest.MonkeyPatch, first_is: str) -> None:
    monkeypatch.setattr(turns_module, "ENDING_S", 0.01)
    turns = Turns()
    with Cancellation() as first, turns.alone("acme", first), Cancellation() as second:
        if first_is == "given up":
            first.set(GIVEN_UP)
        with pytest.raises(UserError, match="QUERY_RUNNING"), turns.alone("acme", second):
            pass
        with turns.alone("beta", second):
            pass
    with Cancellation() as third, turns.alone("acme", third):
        pass
