"""Waiting for a state: what every test does instead of waiting for a time."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")
TIMEOUT_S: Final = 120.0
"""Several times what anything takes on a machine under load."""
POLL_S: Final = 0.05


def until(
    ask: Callable[[], T | None],
    what: str | Callable[[], object] = "",
    *,
    timeout_s: float = TIMEOUT_S,
    poll_s: float = POLL_S,
) -> T:
    """The first true answer. Raises `AssertionError` with `what` was waited for, or what it says then."""
    deadline = time.monotonic() + timeout_s
    while not (answer := ask()):
        if time.monotonic() > deadline:
            said = what() if callable(what) else what
            raise AssertionError(f"not after {timeout_s:.0f} s: {said or repr(answer)}")
        time.sleep(poll_s)
    return answer
