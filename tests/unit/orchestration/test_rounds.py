import logging
import threading
from collections.abc import Iterator

import pytest

from orchestration.control.rounds import go_round
from schemas.errors import FatalError, RetriableError


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_a_round_goes_on_whatever_befalls_it_and_says_what(
    stop: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    befalls = [RetriableError("AWAY", "come back later"), FatalError("BROKEN", "for good"), KeyError("a fault")]
    fourth = threading.Event()

    def look() -> None:
        if befalls:
            raise befalls.pop(0)
        fourth.set()

    go_round(look, name="looker", every_s=0.001, stop=stop)
    assert fourth.wait(30)
    said = [(record.levelno, record.getMessage(), record.exc_info is not None) for record in caplog.records]
    assert said == [
        (logging.WARNING, "looker: AWAY: come back later", False),
        (logging.ERROR, "looker: BROKEN: for good", False),
        (logging.ERROR, "looker", True),
    ]


@pytest.mark.parametrize("at_once", [False, True])
def test_the_first_look_waits_unless_it_is_to_be_at_once(*, stop: threading.Event, at_once: bool) -> None:
    looked = threading.Event()
    go_round(looked.set, name="looker", every_s=3_600, stop=stop, at_once=at_once)
    assert looked.wait(30 if at_once else 0.2) is at_once


def test_a_round_ends_when_it_is_told_to(stop: threading.Event) -> None:
    go_round(lambda: None, name="ending", every_s=3_600, stop=stop)
    [thread] = [one for one in threading.enumerate() if one.name == "ending"]
    stop.set()
    thread.join(30)
    assert not thread.is_alive()
