"""Waiting for a state: what every test does instead of waiting for a time."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")
TIMEOUT_S: Final = 120.0
"""Several times what anything takes on a machine under load."""
POLL_S: Final = 0.2
FIRST_POLL_S: Final = 0.005


def until(
    ask: Callable[[], T | None],
    what: str | Callable[[], object] = "",
    *,
    timeout_s: float = TIMEOUT_S,
    poll_s: float = POLL_S,
) -> T:
    """The first true answer. Raises `AssertionError` with `what` was waited for, or what it says then.

    Asks often at first and then every `poll_s`: a question to Kafka costs up to 40 ms of processor time.
    """
    deadline = time.monotonic() + timeout_s
    pause_s = FIRST_POLL_S
    while not (answer := ask()):
        if time.monotonic() > deadline:
            said = what() if callable(what) else what
            raise AssertionError(f"not after {timeout_s:.0f} s: {said or repr(answer)}")
        time.sleep(min(pause_s, poll_s))
        pause_s *= 1.5
    return answer
