"""Progress of a stage in the catalog, for display: at most twice a second.

A report that cannot be written is dropped, since progress must not fail a job.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final

from orchestration.catalog.progress import ProgressStore
from orchestration.platform.clock import now_ms
from schemas.errors import RetriableError
from schemas.ids import JobId

INTERVAL_MS: Final = 500
_log = logging.getLogger(__name__)


class StageReport:
    """Progress of one stage of a job. `unit`: of `done` and `total`. `target`: where it runs.

    A stage of unknown progress has a `total` of 0. `number`: of the unit that is reported, of those that the stage
    takes side by side.
    """

    def __init__(
        self,
        progress: ProgressStore,
        job_id: JobId,
        stage: str,
        *,
        total: int,
        unit: str,
        target: str,
        number: int | None = None,
        more: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self._number = number
        self._progress = progress
        self._job_id = job_id
        self._stage = stage
        self._record: dict[str, Any] = {"done": 0, "total": total, "unit": unit, "rows": 0, "partitions": []}
        self._record |= {"place": target, "started_at_ms": now_ms(), **more}
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

    def end_unit(self, *, rows: int, counted: bool) -> None:
        """Report the end of a unit; `counted`: it has ended before, and another run of it was counted."""
        assert self._number is not None  # noqa: S101  # only units end so
        record = None if counted else self._record | {"done": self._record["total"], "rows": rows}
        with self._dropped():
            self._progress.end_unit(self._job_id, self._stage, self._number, record, now_ms=now_ms())

    def _write(self) -> None:
        self._written_ms = now_ms()
        with self._dropped():
            self._progress.put_stage(
                self._job_id, self._stage, self._record, now_ms=self._written_ms, unit=self._number
            )

    @contextmanager
    def _dropped(self) -> Iterator[None]:
        try:
            yield
        except RetriableError as exc:
            _log.warning("cannot record the progress of %s: %s", self._job_id, exc)
