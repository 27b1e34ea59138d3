"""Samples of lag and members, for plots and event streams: they need neither Prometheus nor Kafka.

For display only; nothing is decided by it. While Kafka does not answer there is no sample: a gap stays a gap.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final

from confluent_kafka import KafkaException

from connectors.kafka.worker_group import WorkerGroup, unacknowledged
from orchestration.catalog.samples import GroupState, SampleStore, TopicSample
from orchestration.records.workers import Worker
from schemas.errors import RetriableError
from schemas.records import as_record
from schemas.topics import SEGMENT_WORKER_GROUP, WORKER_GROUP

EVERY_MS: Final = 10_000
_log = logging.getLogger(__name__)


class Sampling:
    """Measures the groups once in every ten seconds of the clock, so that no jitter looks like a gap.

    `write` runs its argument: a commit that gives no periodic task anything to do.
    """

    def __init__(
        self,
        store: SampleStore,
        groups: Sequence[WorkerGroup],
        workers: Callable[[], Sequence[Worker]],
        write: Callable[[Callable[[], None]], None],
    ) -> None:
        self._store = store
        self._groups = groups
        self._workers = workers
        self._write = write
        self._sampled_ms = 0
        self._away = False

    def tick(self, now: int) -> None:
        """Write the sample of these ten seconds, once. Raises `RetriableError` CATALOG_UNAVAILABLE."""
        at_ms = now - now % EVERY_MS
        if at_ms == self._sampled_ms:
            return
        try:
            workers = self._workers()
            found = [_sampled(group, workers, at_ms) for group in self._groups]
        except (KafkaException, RetriableError) as exc:
            if not self._away:
                _log.warning("no samples of lag and workers: %s", exc)
            self._away = True
            return
        self._away = False
        samples, states = [one for _, of_group in found for one in of_group], [state for state, _ in found]
        self._write(lambda: self._store.put(samples, states, now_ms=now))
        self._sampled_ms = at_ms


def _sampled(group: WorkerGroup, workers: Sequence[Worker], at_ms: int) -> tuple[GroupState, list[TopicSample]]:
    committed, ends = group.committed(), group.ends()
    behind = unacknowledged(committed, ends)
    own = [as_record(one) for one in workers if one.group == group.name]
    members = len(own) if group.name in {WORKER_GROUP, SEGMENT_WORKER_GROUP} else group.members()
    topics = sorted({topic for topic, _ in ends})
    lag = {topic: [behind[key] for key in sorted(ends) if key[0] == topic] for topic in topics}
    samples = [
        TopicSample(
            at_ms=at_ms,
            group=group.name,
            topic=topic,
            members=members,
            lag=sum(lag[topic]),
            acknowledged=sum(max(offset, 0) for key, offset in committed.items() if key[0] == topic),
            sent=sum(end for key, end in ends.items() if key[0] == topic),
        )
        for topic in topics
    ]
    return GroupState(group=group.name, at_ms=at_ms, workers=own, lag=lag), samples
