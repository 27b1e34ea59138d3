"""What clients of the service leave behind, looked for once an hour.

1. Uploads that were not finished within a day: parts, object and row. A finished one goes with the last job that reads
   it (`gc.jobs`, `gc.orphans`), and its row when no job can come any more.
2. Exports to `download`, a day after they ended.
3. Idempotency keys after 72 hours, and operations after a day: their results may name users.
"""

import logging
import re
from typing import Final

from connectors.storage.multipart import Parts
from connectors.storage.objects import ObjectStore
from orchestration.catalog.exports import ExportStore
from orchestration.catalog.idempotency import KEPT_MS, IdempotencyStore
from orchestration.catalog.operations import OperationStore
from orchestration.catalog.uploads import UploadStore
from orchestration.platform.settings import Settings
from schemas.errors import MusterError
from schemas.ids import JOB_ID_PATTERN, NAME_PATTERN, JobId
from schemas.layout import DOWNLOADS_PREFIX
from schemas.topics import HOUR_MS, MAX_JOB_AGE_S

DAY_MS: Final = 24 * HOUR_MS
_DOWNLOAD: Final = re.compile(rf"{DOWNLOADS_PREFIX}{NAME_PATTERN.pattern}/({JOB_ID_PATTERN.pattern})/", re.ASCII)
_log = logging.getLogger(__name__)


class ServedRequests:
    """Removes them."""

    def __init__(
        self,
        *,
        uploads: UploadStore,
        idempotency: IdempotencyStore,
        operations: OperationStore,
        exports: ExportStore,
        objects: ObjectStore,
        parts: Parts,
        settings: Settings,
    ) -> None:
        self._uploads = uploads
        self._idempotency = idempotency
        self._operations = operations
        self._exports = exports
        self._objects = objects
        self._parts = parts
        self._bucket = settings.staging_bucket
        self._kept_ms = settings.upload_keep_hours * HOUR_MS + MAX_JOB_AGE_S * 1000

    def tick(self, now_ms: int) -> None:
        """Remove what is due. An unavailable store is logged; the next tick tries again."""
        try:
            self._idempotency.forget(now_ms - KEPT_MS)  # 3
            self._operations.forget(now_ms - DAY_MS)
            self._remove_uploads(now_ms)
            self._remove_downloads(now_ms)
        except MusterError as exc:
            _log.warning("cannot remove all that clients have left behind: %s", exc)

    def _remove_uploads(self, now_ms: int) -> None:  # 1
        for upload in self._uploads.begun_before(now_ms - DAY_MS):
            if not upload.stored:
                if upload.multipart is not None:
                    self._parts.abort(self._bucket, upload.key, upload.multipart)
                self._objects.delete(self._bucket, upload.key)
                self._uploads.delete(upload.upload_id)
            elif now_ms - upload.created_at_ms > self._kept_ms:
                self._uploads.delete(upload.upload_id)

    def _remove_downloads(self, now_ms: int) -> None:  # 2
        ended: dict[str, bool] = {}
        for entry in list(self._objects.list(self._bucket, DOWNLOADS_PREFIX)):
            if (found := _DOWNLOAD.match(entry.key)) is None:
                continue
            if found[1] not in ended:
                export = self._exports.find(JobId(found[1]))
                ended_ms = None if export is None else export.finished_at_ms
                ended[found[1]] = ended_ms is not None and now_ms - ended_ms > DAY_MS
            if ended[found[1]]:
                self._objects.delete(self._bucket, entry.key)
