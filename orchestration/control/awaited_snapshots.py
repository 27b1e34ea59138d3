"""Snapshots that exports of segments wait for.

1. The snapshot starts under the id that its export was registered with: a repeat starts no second one.
2. Once it has ended, however it did, the export's execution goes on, which reads the end (PlanExport). It is answered
   until the export has moved on, so an answer may be lost, or come before the wait has begun.
A snapshot whose execution has ended without registering it counts as ended.
"""

import logging
from typing import Final

from orchestration.catalog.exports import ExportStore
from orchestration.catalog.jobs import JobStore
from orchestration.catalog.records import Export
from orchestration.control.task_answers import send
from orchestration.kinds.export.snapshots import snapshot_event, snapshot_of
from orchestration.kinds.records import ExportRecords
from orchestration.workflow.engine import IMPORT_MACHINE, WorkflowEngine
from schemas.errors import FatalError, RetriableError
from schemas.log_ids import bound
from segmentation.jobs import FINAL

_log: Final = logging.getLogger(__name__)


class AwaitedSnapshots:
    """Follows all exports in AWAITING."""

    def __init__(self, records: ExportRecords, jobs: JobStore, engine: WorkflowEngine) -> None:
        self._records = records
        self._jobs = jobs
        self._engine = engine

    @property
    def _exports(self) -> ExportStore:
        return self._records.exports

    def tick(self, _now_ms: int) -> bool:
        """Start and answer what is due; returns whether an export waits. Raises `RetriableError` CATALOG_UNAVAILABLE.

        What the engine refuses is logged, and the next tick tries again.
        """
        waiting = self._exports.awaiting()
        for export in waiting:
            with bound(**export.log_ids):
                try:
                    ended = self._ended(export)
                except (FatalError, RetriableError) as exc:
                    if exc.code == "CATALOG_UNAVAILABLE":
                        raise
                    _log.warning("cannot follow the snapshot of export %s: %s", export.job_id, exc)
                    continue
                if ended and export.task_token is not None:  # 2
                    send(self._engine.succeed, export.task_token, self._records.view(export, state="REGISTERED"))
        return bool(waiting)

    def _ended(self, export: Export) -> bool:
        snapshot = snapshot_of(export)
        if (job := self._jobs.find(snapshot)) is not None:
            return job.state in FINAL
        execution = self._engine.describe(self._engine.execution_arn(snapshot))
        if execution is None:
            self._engine.start(IMPORT_MACHINE, snapshot, snapshot_event(export))  # 1
            return False
        return not execution.running and self._jobs.find(snapshot) is None
