"""Liveness of the workers: whether they are there, and move.

That is what keeps the heart of a waiting job beating, not its own progress, so that queueing behind others is never a
failure.
"""

from collections.abc import Sequence
from typing import Final

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # not in its __all__

from schemas.topics import IMPORT_TOPICS, WORKER_GROUP

STALL_MS: Final = 120_000
TIMEOUT_S: Final = 5.0


class WorkerLiveness:
    """Looks at the workers' consumer group: alive when it has members, and has taken everything or moved lately."""

    def __init__(self, bootstrap: str, partitions: int) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "reconnect.backoff.max.ms": 500, "log_level": 2})
        self._places = [TopicPartition(topic, p) for topic in IMPORT_TOPICS for p in range(partitions)]
        self._committed: Sequence[int] = ()
        self._moved_ms: int | None = None
        self._empty_ms: int | None = None

    def fault(self, now_ms: int) -> str | None:
        """Why the workers do not count as alive, or none."""
        try:
            committed, ends = self._offsets()
            members = self._members()
        except KafkaException as exc:
            return f"Kafka does not answer: {exc.args[0]}"
        if committed != self._committed or self._moved_ms is None:
            self._committed, self._moved_ms = committed, now_ms
        if members == 0:
            self._empty_ms = self._empty_ms or now_ms
            if now_ms - self._empty_ms > STALL_MS:
                return f"no worker has been in group {WORKER_GROUP} for {(now_ms - self._empty_ms) // 1000} s"
        else:
            self._empty_ms = None
        lag = sum(max(end - max(at, 0), 0) for at, end in zip(committed, ends, strict=True))
        if lag and now_ms - self._moved_ms > STALL_MS:
            return f"the workers have not moved for {(now_ms - self._moved_ms) // 1000} s, {lag} messages wait"
        return None

    def _members(self) -> int:
        described = self._admin.describe_consumer_groups([WORKER_GROUP], request_timeout=TIMEOUT_S)[WORKER_GROUP]
        return len(described.result(TIMEOUT_S + 1).members)

    def _offsets(self) -> tuple[Sequence[int], Sequence[int]]:
        asked = [ConsumerGroupTopicPartitions(WORKER_GROUP, self._places)]
        group = self._admin.list_consumer_group_offsets(asked, request_timeout=TIMEOUT_S)[WORKER_GROUP]
        at = {(p.topic, p.partition): p.offset for p in group.result(TIMEOUT_S + 1).topic_partitions}
        latest = self._admin.list_offsets(
            {place: OffsetSpec.latest() for place in self._places},  # type: ignore[no-untyped-call]
            request_timeout=TIMEOUT_S,
        )
        ends = {(place.topic, place.partition): f.result(TIMEOUT_S + 1).offset for place, f in latest.items()}
        keys = [(place.topic, place.partition) for place in self._places]
        return [at.get(key, -1) for key in keys], [ends[key] for key in keys]
