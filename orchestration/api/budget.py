"""How many requests a principal may send: a bucket of `burst` requests that fills at `per_s`."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from schemas.errors import UserError

PER_S: Final = 20.0
BURST: Final = 100
KEPT: Final = 10_000
"""Principals whose buckets are kept; a forgotten one gets a full bucket, which it would have by then."""


class Budget:
    """Counts requests in memory: each process of the service has its own. Not thread-safe."""

    def __init__(
        self, *, per_s: float = PER_S, burst: int = BURST, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # requests left, and when

    def spend(self, principal: str) -> None:
        """Count one request. Raises `UserError` TOO_MANY_REQUESTS."""
        now = self._clock()
        left, at = self._left.pop(principal, (float(self._burst), now))
        left = min(self._burst, left + (now - at) * self._per_s)
        refused = left < 1
        self._left[principal] = (left if refused else left - 1, now)
        if len(self._left) > KEPT:
            self._left.popitem(last=False)
        if refused:
            raise UserError(
                "TOO_MANY_REQUESTS",
                f"more than {self._per_s:.3g} requests a second, beyond a burst of {self._burst}; slow down",
            )
