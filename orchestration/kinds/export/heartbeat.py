"""Heartbeat of a group that is being written, and the signal to stop writing.

Every few seconds a thread records the progress of the group, so that the control plane can tell a frozen or dead
process from a working one. On the way it notices that the export was cancelled or belongs to another execution.
"""

import logging
import threading
from types import TracebackType
from typing import Final, Self

from orchestration.catalog.exports import ExportStore
from orchestration.platform.clock import now_ms
from schemas.errors import RetriableError
from schemas.ids import JobId

HEARTBEAT_S: Final = 2.0
_log = logging.getLogger(__name__)


class WritingStopped(Exception):  # noqa: N818  # not an error: nothing went wrong
    """The export no longer belongs to this execution."""


class GroupHeartbeat:
    """Sends heartbeats for one group while used as a context manager."""

    def __init__(self, exports: ExportStore, export_id: JobId, number: int, execution: str) -> None:
        self._exports = exports
        self._export_id = export_id
        self._number = number
        self._execution = execution
        self._rows = 0
        self._lost = False
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"heart-{number}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    def rows(self, rows: int) -> None:
        """Record that `rows` rows are written. Raises `WritingStopped`."""
        self._rows = rows
        if self._lost:
            raise WritingStopped

    def _run(self) -> None:
        while not self._end.wait(HEARTBEAT_S):
            try:
                export = self._exports.get(self._export_id)
                self._lost = export.state != "WRITING" or export.execution != self._execution
                self._exports.set_group(self._export_id, self._number, rows=self._rows, beat_at_ms=now_ms())
            except RetriableError as exc:  # the catalog is unavailable: keep writing
                _log.warning(
                    "cannot record the progress of group %d of export %s: %s", self._number, self._export_id, exc
                )
