"""The sweeper: ends what nobody else will end, and removes what nobody needs any more.

1. Executions of live jobs that were lost are replaced; a job whose execution was stopped is cancelled (`executions`).
   Of many live jobs some are looked at, in turns (`taking_turns`).
2. A job older than `MAX_JOB_AGE_S` fails with JOB_TOO_OLD: the messages that it depends on will soon be gone.
3. A final job: workers are told to drop what they hold (abort markers), then its staged data is deleted, and the
   local file that was uploaded for it. The execution of a cancelled one is stopped.
Exports are `exporting`'s, and what they leave is `cleaning`'s; old versions are `expiry`'s, orphans `orphans`'.
"""

import json
import logging
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from connectors.publishing.importer import publish_aborted
from connectors.publishing.producer import KafkaTopicLog
from orchestration.catalog.auditing import record_automatic
from orchestration.catalog.records import Job, JobError
from orchestration.context import Context
from orchestration.control.executions import Executions, is_grown, stop_execution
from orchestration.control.taking_turns import TakingTurns
from orchestration.kinds.send import import_topic
from orchestration.kinds.snapshot.ask import cut_id_of
from orchestration.kinds.view import view
from schemas.errors import MusterError
from schemas.ids import Attempt
from schemas.layout import UPLOADS_PREFIX, cut_prefix, staging_prefix
from schemas.log_ids import bind
from schemas.topics import MAX_JOB_AGE_S
from segmentation.life_cycle import Change

SWEEP_AFTER_MS: Final = 5_000
_log = logging.getLogger(__name__)


class Sweeper:
    """Looks at all jobs. Its steps are numbered as in the module's docstring."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._executions = Executions(context)
        self._turns = TakingTurns()

    def tick(self, now_ms: int) -> None:
        """Do what is due; a failure is logged, and the next tick tries again."""
        live = self._context.jobs.live()
        asked = self._turns.take(job.job_id for job in live if is_grown(job, now_ms))
        for job in live:
            bind(job=job.job_id, attempt=job.attempt, tenant=job.tenant, audience=job.audience)
            if now_ms - job.created_at_ms > MAX_JOB_AGE_S * 1000 and job.state != "PUBLISHING":
                self._end_old(job, now_ms)  # 2
            elif job.job_id in asked:
                self._executions.tick(job, now_ms)  # 1
        for job in self._context.jobs.to_sweep(now_ms - SWEEP_AFTER_MS):
            bind(job=job.job_id, attempt=job.attempt, tenant=job.tenant, audience=job.audience)
            self._sweep(job, now_ms)  # 3

    def _forget_cuts(self, job: Job) -> None:
        for attempt in range(1, job.attempt + 1):
            prefix = cut_prefix(cut_id_of(job, Attempt(attempt)))
            self._context.objects.delete_prefix(self._context.settings.staging_bucket, prefix)

    def _delete_upload(self, job: Job) -> None:
        bucket, key = str(job.source["bucket"]), str(job.source["key"])
        if bucket == self._context.settings.staging_bucket and key.startswith(UPLOADS_PREFIX):
            self._context.objects.delete(bucket, key)

    def _end_old(self, job: Job, now_ms: int) -> None:
        error = JobError(
            kind="system",
            code="JOB_TOO_OLD",
            message=f"the job was {job.state} for more than {MAX_JOB_AGE_S // 3600} hours; upload the file again",
            detail={"state": job.state},
        )
        before = job
        verdict, job = self._context.jobs.fail(job.job_id, error, now_ms=now_ms)
        _log.error("job %s failed: %s", job.job_id, error.message)
        if verdict is Change.APPLIED:
            record_automatic(self._context.audit, "sweeper", "fail", before, {"state": "FAILED", "code": error.code})
        if job.task_token is None:
            return
        try:  # its execution goes on and tells the operators; one that waits for something else finds out by itself
            self._context.workflow.send_task_success(
                taskToken=job.task_token, output=json.dumps(view(self._context, job))
            )
        except (ClientError, BotoCoreError) as exc:
            _log.warning("the execution of job %s was not told of its end: %s", job.job_id, exc)

    def _sweep(self, job: Job, now_ms: int) -> None:
        if job.state == "CANCELLED":
            stop_execution(self._context, job.job_id, job.execution, "the job was cancelled")
        try:
            if job.segment is not None:
                self._forget_cuts(job)
            elif job.attempt > 0 and job.kind == "audience":  # nobody holds anything of others
                # A later attempt than the published one may still be on its way through the workers.
                if job.state != "READY" or (job.outcome or {}).get("attempt") != job.attempt:
                    publish_aborted(
                        KafkaTopicLog(self._context.settings.kafka_bootstrap, import_topic(job)),
                        import_id=job.job_id,
                        attempt=job.attempt,
                        partitions=job.partitions,
                        reason=job.state,
                    )
                self._context.objects.delete_prefix(self._context.settings.staging_bucket, staging_prefix(job.job_id))
            if job.segment is None and job.state in {
                "READY",
                "SUPERSEDED",
            }:  # a job that ended otherwise may be retried from its upload
                self._delete_upload(job)
            self._context.jobs.put(job.job_id, swept_at_ms=now_ms)
        except MusterError as exc:
            _log.warning("job %s could not be swept: %s", job.job_id, exc)
