"""How much a principal may ask for: a bucket of `burst` that fills at `per_s`."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from schemas.errors import UserError

PER_S: Final = 20.0
BURST: Final = 100
KEPT: Final = 10_000
"""Principals whose buckets are kept; a forgotten one gets a full bucket, which it would have by then."""
DAY_S: Final = 86_400


class Budget:
    """Counts requests in memory: each process of the service has its own. Thread-safe."""

    def __init__(
        self, *, per_s: float = PER_S, burst: int = BURST, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        self._lock = threading.Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # requests left, and when

    def take(self, principal: str, cost: int = 1) -> float:
        """Take `cost` (at most a full bucket) and return 0; if there is less, take nothing and return the wait (s)."""
        with self._lock:
            now = self._clock()
            left, at = self._left.pop(principal, (float(self._burst), now))
            left = min(self._burst, left + (now - at) * self._per_s)
            missing = max(1, min(cost, self._burst)) - left  # a burst of 0 allows nothing
            self._left[principal] = (left if missing > 0 else -missing, now)
            if len(self._left) > KEPT:
                self._left.popitem(last=False)
        if missing <= 0:
            return 0.0
        return missing / self._per_s if self._per_s else math.inf

    def spend(self, principal: str) -> None:
        """Count one request. Raises `UserError` TOO_MANY_REQUESTS."""
        if self.take(principal):
            raise UserError(
                "TOO_MANY_REQUESTS",
                f"more than {self._per_s:.3g} requests a second, beyond a burst of {self._burst}; slow down",
            )
