"""Liveness of the workers: a group has members, and they make progress.

Waiting jobs send heartbeats while the workers are alive, whether or not the job itself makes progress, so that queueing
behind others is never a failure. Nor is the absence of workers that come on demand: they are being started, which may
take as long as capacity is missing.
"""

from typing import Final

from confluent_kafka import KafkaException

from connectors.kafka.worker_group import WorkerGroup, unacknowledged
from orchestration.control.stall_detector import StallDetector

STALL_MS: Final = 120_000
HOPELESS_MS: Final = 420_000
"""After this time a job fails: the limit of a stall, and the time without a heartbeat that the job's wait allows."""


class WorkerLiveness:
    """Watches a consumer group: alive if it has members and has consumed everything or moved recently.

    `on_demand`: its workers come when there is work, so only those that are there can fail, and only if Kafka answers.
    """

    on_demand: bool = False

    def __init__(self, group: WorkerGroup, *, on_demand: bool = False) -> None:
        self.on_demand = on_demand
        self._group = group
        self._stall_detector = StallDetector()
        self._empty_ms: int | None = None

    def fault(self, now_ms: int) -> str | None:
        """Why the workers are not alive. None if they are."""
        try:
            committed, ends, members = self._group.committed(), self._group.ends(), self._group.members()
        except KafkaException as exc:
            return None if self.on_demand else f"Kafka does not answer: {exc.args[0]}"
        if members == 0 and self.on_demand:
            self._stall_detector = StallDetector()
            return None
        stalled_s = self._stall_detector.seconds(committed, ends, now_ms)
        if members == 0:
            self._empty_ms = self._empty_ms or now_ms
            if now_ms - self._empty_ms > STALL_MS:
                return f"no worker has been in group {self._group.name} for {(now_ms - self._empty_ms) // 1000} s"
        else:
            self._empty_ms = None
        if stalled_s > (HOPELESS_MS if self.on_demand else STALL_MS) / 1000:
            lag = sum(unacknowledged(committed, ends).values())
            return f"the workers have made no progress for {stalled_s:.0f} s, {lag} messages are waiting"
        return None
