"""Garbage of ended exports: leases are released, and files that no manifest names are removed.

Each export is cleaned soon after its end and once more an hour later, in case a writer was frozen. Several are cleaned
at a time, so that a destination that hangs for minutes does not block other exports.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from connectors.storage.access import S3Access
from orchestration.catalog.exports import ExportStore
from orchestration.catalog.records import Export
from orchestration.control.job_durations import JobDurations
from orchestration.control.reconciler import stop_execution
from orchestration.kinds.export.clean_up import clean_up
from orchestration.operations.export_jobs import ExportJobs
from orchestration.platform.settings import Settings
from orchestration.workflow.engine import WorkflowEngine
from schemas.errors import MusterError
from schemas.ids import JobId
from schemas.log_ids import bound
from schemas.topics import HOUR_MS
from segmentation.versions import VersionStore

SWEEP_AFTER_MS: Final = 5_000
SWEEP_AGAIN_AFTER_MS: Final = HOUR_MS
RETRY_AFTER_MS: Final = 30_000
"""Delay before an export is retried that could not be cleaned, most likely because its destination is away."""
CONCURRENCY: Final = 4
_log = logging.getLogger(__name__)


class EndedExports:
    """Cleans up after exports."""

    def __init__(
        self,
        exports: ExportStore,
        versions: VersionStore,
        engine: WorkflowEngine,
        export_jobs: ExportJobs,
        *,
        s3: S3Access,
        settings: Settings,
        durations: JobDurations,
    ) -> None:
        self._exports = exports
        self._versions = versions
        self._engine = engine
        self._export_jobs = export_jobs
        self._s3 = s3
        self._settings = settings
        self._durations = durations
        self._pool = ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="export-cleaner")
        self._next_due_ms: dict[JobId, int] = {}

    def tick(self, now: int) -> None:
        """Clean up what is due. Blocks until the slowest is done. Raises `RetriableError` CATALOG_UNAVAILABLE."""
        ended = self._exports.to_sweep(now, after_ms=SWEEP_AFTER_MS, again_after_ms=SWEEP_AGAIN_AFTER_MS)
        self._next_due_ms = {e.job_id: self._next_due_ms.get(e.job_id, 0) for e in ended}
        due = [export for export in ended if now >= self._next_due_ms[export.job_id]]
        for done in [self._pool.submit(self._sweep, export, now) for export in due]:
            done.result()

    def _sweep(self, export: Export, now: int) -> None:
        with bound(**export.log_ids):
            if export.state == "CANCELLED":
                stop_execution(self._engine, export, "the export was cancelled")
            if export.state in {"CANCELLED", "FAILED"}:
                self._export_jobs.cancel_snapshot(export)
            try:
                clean_up(export, versions=self._versions, s3=self._s3, settings=self._settings)
                self._exports.put(export.job_id, swept_at_ms=now)
                if export.swept_at_ms is None:
                    self._durations.observe_export(export, self._exports.history(export.job_id))
            except MusterError as exc:
                self._next_due_ms[export.job_id] = now + RETRY_AFTER_MS
                _log.warning("cannot clean up export %s: %s", export.job_id, exc)
