"""How long a consumer group has consumed nothing although messages wait for it.

The lag alone says little: under load there always is some, and a single message that nobody fetches is one too many.
"""

from collections.abc import Mapping

from connectors.kafka.log_offsets import PartitionKey
from connectors.kafka.worker_group import unacknowledged


class StallDetector:
    """Compares successive observations of a group."""

    def __init__(self) -> None:
        self._committed: Mapping[PartitionKey, int] = {}
        self._since_ms: int | None = None

    def seconds(self, committed: Mapping[PartitionKey, int], ends: Mapping[PartitionKey, int], now_ms: int) -> float:
        """Seconds since messages first waited with the group at its current offsets; 0 while nothing waits."""
        if not any(unacknowledged(committed, ends).values()):
            self._since_ms = None
        elif self._since_ms is None or committed != self._committed:
            self._since_ms = now_ms
        self._committed = committed
        return 0 if self._since_ms is None else (now_ms - self._since_ms) / 1000
