"""How long the partitions that a waiting job needs have had no worker. For display only; nothing is decided by it.

A killed worker counts as a member until its session times out, and its partitions are not reassigned before that.
"""

import logging
from collections.abc import Iterable
from typing import Final

from confluent_kafka import KafkaException

from connectors.kafka.worker_group import WorkerGroup
from orchestration.catalog.progress import ProgressStore
from orchestration.catalog.records import Job
from orchestration.operations.follow import ABSENCE, ABSENCE_FRESH_MS

RENEW_AFTER_MS: Final = ABSENCE_FRESH_MS // 3
"""A report is renewed this often. One older than `ABSENCE_FRESH_MS` is stale: the control plane may be down."""
_log = logging.getLogger(__name__)


class WorkerAbsence:
    """Watches the consumer groups of jobs that wait for workers."""

    def __init__(self, progress: ProgressStore, group: WorkerGroup, activity_group: WorkerGroup) -> None:
        self._progress = progress
        self._groups = {False: group, True: activity_group}
        self._since_ms: dict[bool, int] = {}

    def tick(self, jobs: Iterable[Job], now_ms: int) -> None:
        """Write what has changed. While Kafka does not answer, nothing is reported."""
        waiting = [job for job in jobs if job.state == "AWAITING"]
        needed = {_is_activity(job) for job in waiting}
        self._since_ms = {activity: since for activity, since in self._since_ms.items() if activity in needed}
        if not waiting:
            return
        for is_activity in needed:
            try:
                serving = self._groups[is_activity].serving()
            except KafkaException as exc:
                _log.warning("cannot check for workers: %s", exc)
                return
            if serving:
                self._since_ms.pop(is_activity, None)
            else:
                self._since_ms.setdefault(is_activity, now_ms)
        for job in waiting:
            self._report(job, self._since_ms.get(_is_activity(job)), now_ms)

    def _report(self, job: Job, since_ms: int | None, now_ms: int) -> None:
        report = self._progress.stages(job.job_id).get(ABSENCE)
        before = None if report is None else report.record["since_ms"]
        if before != since_ms or (
            report is not None and since_ms is not None and now_ms - report.at_ms >= RENEW_AFTER_MS
        ):
            self._progress.put_stage(job.job_id, ABSENCE, {"since_ms": since_ms}, now_ms=now_ms)


def _is_activity(job: Job) -> bool:
    """Snapshots and imports of events and profiles wait for segment workers."""
    return job.segment is not None or job.kind != "audience"
