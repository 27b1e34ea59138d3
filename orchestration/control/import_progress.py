"""Consumes the progress topic into the catalog."""

import logging

from connectors.storage.objects import ObjectStore
from orchestration.catalog.jobs import JobStore
from orchestration.catalog.progress import ProgressStore
from orchestration.kinds.materialised import as_row
from orchestration.platform.clock import now_ms
from schemas.errors import FatalError, UserError
from schemas.layout import staging_prefix
from schemas.messages import Message, PartitionFailed, PartitionMaterialised

_log = logging.getLogger(__name__)


class ImportProgress:
    """Writes what workers announce about partitions of imports.

    A worker that takes over a partition whose records are not acknowledged yet merges them again, stages the result
    and announces it, perhaps after the job has ended and was cleaned up. So what is staged for a partition of an ended
    job is removed once it is announced. Other partitions may still be merging; to lose a run would end their worker.
    """

    def __init__(self, progress: ProgressStore, jobs: JobStore, objects: ObjectStore, staging_bucket: str) -> None:
        self._progress = progress
        self._jobs = jobs
        self._objects = objects
        self._bucket = staging_bucket

    def put(self, messages: list[Message]) -> None:
        """Idempotent. Raises `RetriableError` CATALOG_UNAVAILABLE and S3_UNAVAILABLE."""
        announcements = [m for m in messages if isinstance(m, PartitionMaterialised | PartitionFailed)]
        if not announcements:
            return
        self._progress.put_partitions([as_row(message, now_ms()) for message in announcements])
        for job_id in self._jobs.ended({message.import_id for message in announcements}):
            done = tuple(staging_prefix(job_id, m.attempt, m.partition) for m in announcements if m.import_id == job_id)
            try:
                staged = [entry.key for entry in self._objects.list(self._bucket, staging_prefix(job_id))]
                self._objects.delete_all(self._bucket, [key for key in staged if key.startswith(done)])
            except (UserError, FatalError) as exc:  # refused: `gc.orphans` tries again, others must not wait
                _log.error("cannot remove what is staged for job %s: %s", job_id, exc)
