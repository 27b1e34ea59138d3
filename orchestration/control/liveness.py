"""Liveness of the workers: a group has members, and they make progress.

Waiting jobs send heartbeats while the workers are alive, whether or not the job itself makes progress, so that queueing
behind others is never a failure.
"""

from typing import Final

from confluent_kafka import KafkaException

from connectors.kafka.worker_group import WorkerGroup, unacknowledged
from orchestration.control.stall_detector import StallDetector

STALL_MS: Final = 120_000


class WorkerLiveness:
    """Watches a consumer group: alive if it has members and has consumed everything or moved recently."""

    def __init__(self, group: WorkerGroup) -> None:
        self._group = group
        self._stall_detector = StallDetector()
        self._empty_ms: int | None = None

    def fault(self, now_ms: int) -> str | None:
        """Why the workers are not alive. None if they are."""
        try:
            committed, ends, members = self._group.committed(), self._group.ends(), self._group.members()
        except KafkaException as exc:
            return f"Kafka does not answer: {exc.args[0]}"
        stalled_s = self._stall_detector.seconds(committed, ends, now_ms)
        if members == 0:
            self._empty_ms = self._empty_ms or now_ms
            if now_ms - self._empty_ms > STALL_MS:
                return f"no worker has been in group {self._group.name} for {(now_ms - self._empty_ms) // 1000} s"
        else:
            self._empty_ms = None
        if stalled_s > STALL_MS / 1000:
            lag = sum(unacknowledged(committed, ends).values())
            return f"the workers have made no progress for {stalled_s:.0f} s, {lag} messages are waiting"
        return None
