"""Garbage of ended jobs.

Abort markers make workers drop their state; then the uploaded local files and the staged data are deleted. The
execution of a cancelled job is stopped.
"""

import logging
from contextlib import suppress
from typing import Final

from connectors.publishing.importer import publish_aborted
from connectors.publishing.producer import KafkaTopicLog
from connectors.storage.objects import ObjectStore
from orchestration.catalog.jobs import JobStore
from orchestration.catalog.records import Job
from orchestration.control.reconciler import stop_execution
from orchestration.kinds.file_sets import source_of
from orchestration.kinds.snapshot.cut_requests import cut_id_of
from orchestration.kinds.topics import import_topic
from orchestration.platform.settings import Settings
from orchestration.workflow.engine import WorkflowEngine
from schemas.errors import FatalError, MusterError
from schemas.ids import Attempt
from schemas.layout import UPLOADS_PREFIX, cut_prefix, staging_prefix
from schemas.log_ids import bind

SWEEP_AFTER_MS: Final = 5_000
_log = logging.getLogger(__name__)


class EndedJobs:
    """Cleans up after final jobs, once each."""

    def __init__(self, jobs: JobStore, objects: ObjectStore, engine: WorkflowEngine, settings: Settings) -> None:
        self._jobs = jobs
        self._objects = objects
        self._engine = engine
        self._settings = settings

    def tick(self, now_ms: int) -> None:
        """Do what is due; a failure is logged, and the next tick tries again."""
        for job in self._jobs.to_sweep(now_ms - SWEEP_AFTER_MS):
            bind(**job.log_ids)
            self._sweep(job, now_ms)

    def _delete_cuts(self, job: Job) -> None:
        for attempt in range(1, job.attempt + 1):
            prefix = cut_prefix(cut_id_of(job, Attempt(attempt)))
            self._objects.delete_prefix(self._settings.staging_bucket, prefix)

    def _delete_uploads(self, job: Job) -> None:
        staging = self._settings.staging_bucket
        keys = [(str(job.source["bucket"]), str(job.source["key"]))]
        if job.files > 1:
            with suppress(FatalError):  # the list is gone if an earlier sweep got that far
                source = source_of(job, objects=self._objects, bucket=staging)
                keys += [(file.bucket, file.key) for file in source] if isinstance(source, tuple) else []
        uploads = [key for bucket, key in keys if bucket == staging and key.startswith(UPLOADS_PREFIX)]
        self._objects.delete_all(staging, uploads)

    def _sweep(self, job: Job, now_ms: int) -> None:
        if job.state == "CANCELLED":
            stop_execution(self._engine, job, "the job was cancelled")
        try:
            if job.segment is not None:
                self._delete_cuts(job)
            elif (attempt := _last_unneeded_attempt(job)) > 0:
                publish_aborted(
                    KafkaTopicLog(self._settings.kafka_bootstrap, import_topic(job)),
                    import_id=job.job_id,
                    attempt=attempt,
                    partitions=job.partitions,
                    reason=job.state,
                )
            if job.segment is None and job.state in {
                "READY",
                "SUPERSEDED",
            }:  # a job that ended otherwise may be retried from its upload
                self._delete_uploads(job)
            self._objects.delete_prefix(self._settings.staging_bucket, staging_prefix(job.job_id))
            self._jobs.put(job.job_id, swept_at_ms=now_ms)
        except MusterError as exc:
            _log.warning("cannot clean up job %s: %s", job.job_id, exc)


def _last_unneeded_attempt(job: Job) -> Attempt:
    """The attempt that is aborted, with all before it: workers keep their rows, and would stage them later.

    All of a job that was not published. A later attempt than the published one may still be on its way to the workers;
    if there is none, those before it are aborted. 0 without attempts, or if workers have no state of such jobs.
    """
    if job.kind != "audience":
        return Attempt(0)
    published = job.state == "READY" and (job.outcome or {}).get("attempt") == job.attempt
    return Attempt(job.attempt - 1 if published else job.attempt)
