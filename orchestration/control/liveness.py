"""Liveness of the workers: whether they are there, and move.

That is what keeps the heart of a waiting job beating, not its own progress, so that queueing behind others is never a
failure.
"""

from typing import Final

from confluent_kafka import KafkaException

from connectors.kafka.worker_group import WorkerGroup, unacknowledged
from orchestration.control.standstill import Standstill

STALL_MS: Final = 120_000


class WorkerLiveness:
    """Looks at the workers' consumer group: alive when it has members, and has taken everything or moved lately."""

    def __init__(self, group: WorkerGroup) -> None:
        self._group = group
        self._standstill = Standstill()
        self._empty_ms: int | None = None

    def fault(self, now_ms: int) -> str | None:
        """Why the workers do not count as alive, or none."""
        try:
            committed, ends, members = self._group.committed(), self._group.ends(), self._group.members()
        except KafkaException as exc:
            return f"Kafka does not answer: {exc.args[0]}"
        stood_s = self._standstill.seconds(committed, ends, now_ms)
        if members == 0:
            self._empty_ms = self._empty_ms or now_ms
            if now_ms - self._empty_ms > STALL_MS:
                return f"no worker has been in group {self._group.name} for {(now_ms - self._empty_ms) // 1000} s"
        else:
            self._empty_ms = None
        if stood_s > STALL_MS / 1000:
            lag = sum(unacknowledged(committed, ends).values())
            return f"the workers have not moved for {stood_s:.0f} s, {lag} messages wait"
        return None
