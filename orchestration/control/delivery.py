"""Delivery of notifications that are due, also for jobs whose workflow ended without notifying anyone.

Several are delivered at a time, so that a mail server that hangs does not block the others.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Final

from orchestration.catalog.exports import ExportStore
from orchestration.catalog.jobs import JobStore
from orchestration.notifications.notices import Notices, outcome_of

UNNOTIFIED_AFTER_MS: Final = 60_000
"""The workflow notifies within seconds."""
UNNOTIFIED_WITHIN_MS: Final = 7 * 24 * 3600 * 1000
RETENTION_MS: Final = 30 * 24 * 3600 * 1000
"""More than `UNNOTIFIED_WITHIN_MS`: a job without a row would be notified again."""
CONCURRENCY: Final = 4


class Delivery:
    """Delivers notifications."""

    def __init__(self, notices: Notices, jobs: JobStore, exports: ExportStore) -> None:
        self._notices = notices
        self._outbox = notices.outbox
        self._jobs = jobs
        self._exports = exports
        self._pool = ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="courier")
        self._courier = notices.courier()

    def forget(self, now: int) -> None:
        """Delete old notifications that were delivered or given up."""
        self._outbox.forget(written_before_ms=now - RETENTION_MS)

    def tick(self, now: int) -> None:
        """Deliver what is due. Blocks until the slowest is done. Raises `RetriableError` CATALOG_UNAVAILABLE."""
        for job_id in self._outbox.unnotified(
            finished_before_ms=now - UNNOTIFIED_AFTER_MS, finished_after_ms=now - UNNOTIFIED_WITHIN_MS
        ):
            job = self._jobs.get(job_id)
            self._notices.write_for_job(job, outcome_of(job), now)
        for export in self._exports.unnotified(
            finished_before_ms=now - UNNOTIFIED_AFTER_MS, finished_after_ms=now - UNNOTIFIED_WITHIN_MS
        ):
            self._notices.write_for_export(export, outcome_of(export), now)
        due = self._outbox.due(now)
        for done in [self._pool.submit(self._courier.deliver, row) for row in due]:
            done.result()
