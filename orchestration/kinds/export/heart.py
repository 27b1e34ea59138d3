"""The heartbeat of a group that is being written, and the sign that it is to stop.

A thread says every few seconds how far the group is, so that the sweeper can tell a process that is frozen or gone from
one that works. It sees by the way when the export was cancelled or has got another execution.
"""

import logging
import threading
from types import TracebackType
from typing import Final, Self

from orchestration.catalog.exports import ExportStore
from orchestration.platform.clock import now_ms
from schemas.errors import RetriableError
from schemas.ids import JobId

BEAT_S: Final = 2.0
_log = logging.getLogger(__name__)


class WritingStopped(Exception):  # noqa: N818  # no error: nobody did anything wrong
    """The export is no longer ours to write."""


class Heart:
    """Beats for one group while it is used as a context manager."""

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
        """So many rows are written. Raises `WritingStopped`."""
        self._rows = rows
        if self._lost:
            raise WritingStopped

    def _run(self) -> None:
        while not self._end.wait(BEAT_S):
            try:
                export = self._exports.get(self._export_id)
                self._lost = export.state != "WRITING" or export.execution != self._execution
                self._exports.set_group(self._export_id, self._number, rows=self._rows, beat_at_ms=now_ms())
            except RetriableError as exc:  # the catalog is away: the work goes on
                _log.warning(
                    "group %d of export %s could not tell how far it is: %s", self._number, self._export_id, exc
                )
