"""Steps that an outage meets are tried again, by who has time to wait for its end."""

import logging
from collections.abc import Callable
from typing import Final, TypeVar

from schemas.errors import RetriableError

RETRY_S: Final = 1.0
RETRY_MAX_S: Final = 10.0
_log = logging.getLogger(__name__)
T = TypeVar("T")


class Stopped(Exception):  # noqa: N818  # the process ends: no error
    """What was not done is done by whoever comes next."""


class Retrying:
    """`wait(seconds)` waits, and says whether the process ends: `threading.Event.wait`."""

    def __init__(self, wait: Callable[[float], bool]) -> None:
        self._wait = wait

    def until_done(self, call: Callable[[], T]) -> T:
        """What the call returns, once it has raised no `RetriableError`. Raises `Stopped`, and what else it raises."""
        wait_s = RETRY_S
        while True:
            try:
                return call()
            except RetriableError as exc:
                _log.warning("%s; again in %g s", exc, wait_s)
            if self._wait(wait_s):
                raise Stopped
            wait_s = min(RETRY_MAX_S, 2 * wait_s)
