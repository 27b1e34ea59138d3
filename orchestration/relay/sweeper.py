"""The sweeper: ends what nobody else will end, and removes what nobody needs any more.

1. A job whose execution is gone (the engine was restarted, or somebody stopped it) gets a new execution, which goes on
   where the job is.
2. A job older than `MAX_JOB_AGE_S` fails with JOB_TOO_OLD: the messages that it depends on will soon be gone.
3. A final job: workers are told to drop what they hold (abort markers), then its staged data is deleted, and the
   local file that was uploaded for it.
4. Old versions are expired by the retention of their audience: each audience about once an hour, one a look, so that
   nobody waits long for an answer meanwhile.
"""

import json
import logging
import time
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from connectors.publishing.importer import publish_aborted
from connectors.publishing.producer import KafkaImportLog
from orchestration.catalog.records import Job, JobError
from orchestration.context import Context
from orchestration.operations.audiences import expire
from orchestration.steps.send import import_topic
from schemas.errors import MusterError
from schemas.ids import JobId
from schemas.layout import UPLOADS_PREFIX, staging_prefix
from schemas.topics import MAX_JOB_AGE_S

LOOK_EVERY_MS: Final = 5_000
ORPHAN_AFTER_MS: Final = 10_000
"""A job younger than this may have an execution that does not know of itself yet."""
SWEEP_AFTER_MS: Final = 5_000
EXPIRE_EVERY_MS: Final = 3_600_000
_log = logging.getLogger(__name__)


class Sweeper:
    """Looks at all jobs every few seconds. Its steps are numbered as in the module's docstring."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._looked_ms = 0
        self._expired_ms: dict[JobId, int] = {}

    def look(self, now_ms: int) -> None:
        """Do what is due; a failure is logged, and the next look tries again."""
        if now_ms - self._looked_ms < LOOK_EVERY_MS:
            return
        self._looked_ms = now_ms
        for job in self._context.jobs.live():
            if now_ms - job.created_at_ms > MAX_JOB_AGE_S * 1000 and job.state != "PUBLISHING":
                self._end_old(job, now_ms)  # 2
            elif now_ms - job.created_at_ms > ORPHAN_AFTER_MS:
                self._adopt(job)  # 1
        for job in self._context.jobs.to_sweep(now_ms - SWEEP_AFTER_MS):
            self._sweep(job, now_ms)  # 3
        self._expire_one(now_ms)  # 4

    def _adopt(self, job: Job) -> None:
        workflow = self._context.workflow
        try:
            if job.execution is not None and _running(
                workflow.describe_execution(executionArn=job.execution)["status"]
            ):
                return
        except ClientError as exc:
            if exc.response["Error"]["Code"] not in {"ExecutionDoesNotExist", "ResourceNotFoundException"}:
                _log.warning("job %s: %s", job.job_id, exc)
                return
        except BotoCoreError as exc:
            _log.warning("the workflow engine cannot be reached: %s", exc)
            return
        name = f"{job.job_id}-r{time.time_ns() // 1_000_000}"
        execution = self._context.execution_arn(name)
        # The job belongs to the new execution before that begins: of several sweepers, one starts one. If the start
        # fails, nobody finds the execution, and the next look takes the job over once more.
        if not self._context.jobs.adopt(job.job_id, gone=job.execution, execution=execution):
            return
        try:
            start_execution(self._context, {"resume": job.job_id}, name)
            _log.warning("job %s was %s without an execution and goes on in a new one", job.job_id, job.state)
        except (ClientError, BotoCoreError) as exc:
            _log.warning("job %s gets no new execution: %s", job.job_id, exc)

    def _expire_one(self, now_ms: int) -> None:
        audiences = self._context.audiences.all()
        self._expired_ms = {a.audience_id: self._expired_ms.get(a.audience_id, 0) for a in audiences}
        due = next((a for a in audiences if now_ms - self._expired_ms[a.audience_id] > EXPIRE_EVERY_MS), None)
        if due is None:
            return
        self._expired_ms[due.audience_id] = now_ms
        try:
            gone = expire(self._context, due, versions=None, days=None)
        except MusterError as exc:
            _log.warning("versions of %s/%s could not be expired: %s", due.tenant, due.name, exc)
            return
        if gone.versions or gone.files:
            _log.info("%s/%s: expired versions %s, %d files", due.tenant, due.name, list(gone.versions), gone.files)

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
        self._context.jobs.fail(job.job_id, error, now_ms=now_ms)
        _log.error("job %s failed: %s", job.job_id, error.message)

    def _sweep(self, job: Job, now_ms: int) -> None:
        try:
            if job.attempt > 0:
                # A later attempt than the published one may still be on its way through the workers.
                if job.state != "READY" or (job.outcome or {}).get("attempt") != job.attempt:
                    publish_aborted(
                        KafkaImportLog(self._context.settings.kafka_bootstrap, import_topic(job)),
                        import_id=job.job_id,
                        attempt=job.attempt,
                        partitions=job.partitions,
                        reason=job.state,
                    )
                self._context.objects.delete_prefix(self._context.settings.staging_bucket, staging_prefix(job.job_id))
            if job.state in {"READY", "SUPERSEDED"}:  # a job that ended otherwise may be retried from its upload
                self._delete_upload(job)
            self._context.jobs.put(job.job_id, swept_at_ms=now_ms)
        except MusterError as exc:
            _log.warning("job %s could not be swept: %s", job.job_id, exc)


def start_execution(context: Context, event: dict[str, object], name: str) -> str:
    """Start ImportAudience with an input; returns the execution's ARN. Raises botocore's errors."""
    answer = context.workflow.start_execution(
        stateMachineArn=context.state_machine_arn, name=name, input=json.dumps(event)
    )
    return answer["executionArn"]


def _running(status: str) -> bool:
    return status in {"RUNNING", "PENDING_REDRIVE"}
