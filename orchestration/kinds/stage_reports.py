"""Progress of a stage in the catalog, for display: at most twice a second.

A report that cannot be written is dropped, since progress must not fail a job.
"""

import logging
from collections.abc import Sequence
from typing import Any, Final

from orchestration.catalog.progress import ProgressStore
from orchestration.platform.clock import now_ms
from schemas.errors import RetriableError
from schemas.ids import JobId

INTERVAL_MS: Final = 500
_log = logging.getLogger(__name__)


class StageReport:
    """Progress of one stage of a job. `unit`: of `done` and `total`. `target`: where it runs.

    A stage of unknown progress has a `total` of 0.
    """

    def __init__(
        self, progress: ProgressStore, job_id: JobId, stage: str, *, total: int, unit: str, target: str
    ) -> None:
        self._progress = progress
        self._job_id = job_id
        self._stage = stage
        self._record: dict[str, Any] = {"done": 0, "total": total, "unit": unit, "rows": 0, "partitions": []}
        self._record |= {"place": target, "started_at_ms": now_ms()}
        self._written_ms = 0
        self._write()

    def update(self, *, done: int, rows: int, partitions: Sequence[int] = (), **more: object) -> None:
        """Report absolute counts, and `more` fields. Written if the last report is old enough."""
        self._record |= {"done": done, "rows": rows, "partitions": list(partitions), **more}
        if now_ms() - self._written_ms >= INTERVAL_MS:
            self._write()

    def finish(self, *, rows: int) -> None:
        """Report the end of the stage."""
        self._record |= {"done": self._record["total"], "rows": rows, "finished": True}
        self._write()

    def _write(self) -> None:
        self._written_ms = now_ms()
        try:
            self._progress.put_stage(self._job_id, self._stage, self._record, now_ms=self._written_ms)
        except RetriableError as exc:
            _log.warning("cannot record the progress of %s: %s", self._job_id, exc)
