"""Retries of steps that meet an outage, for callers that can wait for its end."""

import logging
from collections.abc import Callable
from typing import Final, TypeVar

from schemas.errors import RetriableError

RETRY_S: Final = 1.0
RETRY_MAX_S: Final = 10.0
_log = logging.getLogger(__name__)
T = TypeVar("T")


class Stopped(Exception):  # noqa: N818  # the process ends: no error
    """The process ends; the next instance does what was left."""


class Retrying:
    """`wait(seconds)` returns True if the process ends: `threading.Event.wait`."""

    def __init__(self, wait: Callable[[float], bool]) -> None:
        self._wait = wait

    def until_done(self, call: Callable[[], T]) -> T:
        """Call until it raises no `RetriableError`, and return its result. Raises `Stopped` and any other error."""
        wait_s = RETRY_S
        while True:
            try:
                return call()
            except RetriableError as exc:
                _log.warning("%s; retrying in %g s", exc, wait_s)
            if self._wait(wait_s):
                raise Stopped
            wait_s = min(RETRY_MAX_S, 2 * wait_s)
