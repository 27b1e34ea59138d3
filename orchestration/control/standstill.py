"""For how long a consumer group has taken nothing of what waits for it.

How many messages wait says little: under load there are always some, and a single one that nobody fetches is one too
many.
"""

from collections.abc import Mapping

from connectors.kafka.worker_group import Place, unacknowledged


class Standstill:
    """Compares one look at a group with the next."""

    def __init__(self) -> None:
        self._committed: Mapping[Place, int] = {}
        self._since_ms: int | None = None

    def seconds(self, committed: Mapping[Place, int], ends: Mapping[Place, int], now_ms: int) -> float:
        """Since the first look at which something waited and the group was where it is now; 0 while nothing waits."""
        if not any(unacknowledged(committed, ends).values()):
            self._since_ms = None
        elif self._since_ms is None or committed != self._committed:
            self._since_ms = now_ms
        self._committed = committed
        return 0 if self._since_ms is None else (now_ms - self._since_ms) / 1000
