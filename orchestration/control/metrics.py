"""Metrics of the whole deployment: jobs and notifications from the catalog, lag and dead letters from Kafka.

Read on demand, at most every few seconds, in the thread of the scrape.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Final

import sqlalchemy as sa
from confluent_kafka import KafkaException

from connectors.kafka.log_offsets import LogOffsets, PartitionKey
from connectors.kafka.worker_group import TIMEOUT_S, WorkerGroup, unacknowledged
from orchestration.catalog.engine import Database
from orchestration.catalog.regular_audiences import RegularAudience, regular_audiences
from orchestration.catalog.schedules import next_due_ms
from orchestration.catalog.tables import (
    activations,
    exports,
    feeds,
    jobs,
    notifications,
    segment_partitions,
    segments,
    transitions,
)
from orchestration.control.stall_detector import StallDetector
from orchestration.control.worker_groups import WorkerGroups
from orchestration.platform.clock import now_ms
from orchestration.platform.settings import Settings
from schemas.counters import Counters
from schemas.errors import MusterError
from schemas.metrics import (
    ACTIVATIONS_WAITING,
    AUDIENCE_AGE,
    AUDIENCE_MEMBERS,
    AUDIENCE_REJECTED,
    DEAD,
    EXPORTS,
    FEED_STALLED,
    FEEDS,
    JOB_EVENTS_STALLED,
    JOBS,
    LAG,
    NOTIFICATIONS,
    OLDEST_JOB,
    PUBLISH_SECONDS,
    SCHEDULE_OVERDUE,
    SEGMENT_AGE,
    SEGMENTS,
    UNAVAILABLE,
    WORKERS,
    Sample,
)
from schemas.topics import DEAD_LETTERS, JOB_EVENTS
from segmentation.export_jobs import EXPORT_STATES
from segmentation.jobs import FINAL, STATES

FRESH_MS: Final = 5_000
AUDIENCES_MS: Final = 30_000
"""The jobs of a week are read for them."""


class ControlPlaneMetrics:
    """`samples` may be called from any thread."""

    def __init__(self, database: Database, settings: Settings, groups: WorkerGroups, counters: Counters) -> None:
        self._database = database
        self._counters = counters
        self._lock = threading.Lock()
        self._groups = groups
        self._event_group = _event_group(settings)
        self._dead_letters = LogOffsets(settings.kafka_bootstrap)
        self._stall_detector = StallDetector()
        self._read_ms = 0
        self._samples: list[Sample] = []
        self._audiences_read_ms = -AUDIENCES_MS
        self._audiences: list[RegularAudience] = []

    def samples(self) -> list[Sample]:
        """All samples, at most a few seconds old. What cannot be read is left out and reported as such."""
        with self._lock:
            now = now_ms()
            if now - self._read_ms >= FRESH_MS:
                self._samples = list(self._read(now))
                self._read_ms = now
            return [*self._samples, *self._counters.samples()]

    def _read(self, now: int) -> Iterator[Sample]:
        for part, read in (("catalog", self._catalog), ("kafka", self._kafka)):
            try:
                yield from list(read(now))
                down = 0
            except (MusterError, KafkaException):
                down = 1
            yield Sample(metric=UNAVAILABLE, value=down, labels=(part,))

    def _catalog(self, now: int) -> Iterator[Sample]:
        n, t = notifications.c, transitions.c
        newest = sa.select(jobs.c.job_id).where(jobs.c.state == "READY").order_by(jobs.c.finished_at_ms.desc()).limit(1)
        published = (
            sa.select(t.state, sa.func.max(t.at_ms))
            .where(t.job_id == newest.scalar_subquery(), t.state.in_(("PUBLISHING", "READY")))
            .group_by(t.state)
        )
        counted = sa.select(jobs.c.state, sa.func.count()).group_by(jobs.c.state)
        exported = sa.select(exports.c.state, sa.func.count()).group_by(exports.c.state)
        segmented = sa.select(segments.c.state, sa.func.count()).group_by(segments.c.state)
        feeding = sa.select(feeds.c.state, sa.func.count()).group_by(feeds.c.state)
        unsent = sa.select(sa.func.count()).select_from(activations).where(activations.c.sent_at_ms.is_(None))
        oldest_status = (
            sa.select(sa.func.min(segment_partitions.c.at_us))
            .join(segments, segments.c.segment_id == segment_partitions.c.segment_id)
            .where(segments.c.state == "active")
        )
        with self._database.read() as connection:
            by_state: dict[str, int] = {row[0]: row[1] for row in connection.execute(counted)}
            exports_by_state: dict[str, int] = {row[0]: row[1] for row in connection.execute(exported)}
            segments_by_state: dict[str, int] = {row[0]: row[1] for row in connection.execute(segmented)}
            waiting, as_of_us = connection.scalar(unsent), connection.scalar(oldest_status)
            oldest = connection.scalar(sa.select(sa.func.min(jobs.c.created_at_ms)).where(jobs.c.state.not_in(FINAL)))
            due = next_due_ms(connection)
            if now - self._audiences_read_ms >= AUDIENCES_MS:
                self._audiences, self._audiences_read_ms = regular_audiences(connection, now), now
            fed: dict[str, int] = {row[0]: row[1] for row in connection.execute(feeding)}
            stalled = connection.scalar(
                sa.select(sa.func.min(feeds.c.trouble_since_ms)).where(feeds.c.state != "paused")
            )
            rows = connection.execute(
                sa.select(n.attempts, n.next_attempt_at_ms).where(n.delivered_at_ms.is_(None))
            ).all()
            at_ms: dict[str, int] = {row[0]: row[1] for row in connection.execute(published)}
        for state in sorted(STATES):
            yield Sample(metric=JOBS, value=by_state.get(state, 0), labels=(state,))
        for export_state in sorted(EXPORT_STATES):
            yield Sample(metric=EXPORTS, value=exports_by_state.get(export_state, 0), labels=(export_state,))
        for segment_state in ("active", "paused"):
            yield Sample(metric=SEGMENTS, value=segments_by_state.get(segment_state, 0), labels=(segment_state,))
        yield Sample(metric=ACTIVATIONS_WAITING, value=waiting or 0)
        yield Sample(metric=SEGMENT_AGE, value=0 if as_of_us is None else max(0, now - as_of_us // 1000) / 1000)
        yield Sample(metric=OLDEST_JOB, value=0 if oldest is None else max(0, now - oldest) / 1000)
        yield Sample(metric=SCHEDULE_OVERDUE, value=0 if due is None else max(0, now - due) / 1000)
        for one in self._audiences:
            labels = (one.tenant, one.audience)
            yield Sample(metric=AUDIENCE_AGE, value=max(0, now - one.published_at_ms) / 1000, labels=labels)
            yield Sample(metric=AUDIENCE_MEMBERS, value=one.members, labels=labels)
            if one.rejected is not None:
                yield Sample(metric=AUDIENCE_REJECTED, value=one.rejected, labels=labels)
        for feed_state in ("active", "paused", "halted"):
            yield Sample(metric=FEEDS, value=fed.get(feed_state, 0), labels=(feed_state,))
        yield Sample(metric=FEED_STALLED, value=0 if stalled is None else max(0, now - stalled) / 1000)
        pending = Counter("given up" if at is None else "failing" if tries else "waiting" for tries, at in rows)
        for progress in ("waiting", "failing", "given up"):
            yield Sample(metric=NOTIFICATIONS, value=pending[progress], labels=(progress,))
        if {"PUBLISHING", "READY"} <= at_ms.keys():
            yield Sample(metric=PUBLISH_SECONDS, value=max(0, at_ms["READY"] - at_ms["PUBLISHING"]) / 1000)

    def _kafka(self, now: int) -> Iterator[Sample]:
        for group in (self._groups.imports, self._groups.archive):
            for partition, count in unacknowledged(group.committed(), group.ends()).items():
                yield Sample(metric=LAG, value=count, labels=(partition[0], str(partition[1])))
        if self._event_group is not None:
            stalled_s = self._stall_detector.seconds(self._event_group.committed(), self._event_group.ends(), now)
            yield Sample(metric=JOB_EVENTS_STALLED, value=stalled_s)
        yield Sample(metric=WORKERS, value=self._groups.imports.members())
        yield Sample(metric=DEAD, value=_messages(self._dead_letters, (DEAD_LETTERS, 0)))


def _event_group(settings: Settings) -> WorkerGroup | None:
    group = settings.job_events_group
    return WorkerGroup(settings.kafka_bootstrap, 1, name=group, topics=(JOB_EVENTS,)) if group else None


def _messages(log: LogOffsets, partition: PartitionKey) -> int:
    ends, starts = log.ends([partition], TIMEOUT_S), log.starts([partition], TIMEOUT_S)
    return ends[partition] - starts[partition]
