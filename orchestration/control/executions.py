"""Executions of live jobs: one that was lost is replaced, one that somebody stopped ends its job.

- The engine does not know the execution, or it ended without ending the job: the job goes on in a new one.
- It is ABORTED: somebody called StopExecution, and meant it. The job is CANCELLED with EXECUTION_STOPPED; one that is
  PUBLISHING may have its version already and rolls forward in a new execution.
"""

import json
import logging
import re
from collections.abc import Mapping
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from orchestration.catalog.auditing import record_automatic
from orchestration.catalog.records import Export, Job
from orchestration.context import IMPORT_MACHINE, Context
from schemas.ids import JobId
from segmentation.jobs import CANCELLABLE
from segmentation.life_cycle import Change

ORPHAN_AFTER_MS: Final = 10_000
"""A job younger than this may have an execution that does not know of itself yet."""
REPLACE_EVERY_MS: Final = 60_000
"""An execution that fails as soon as it begins is not replaced more often than this."""
_UNKNOWN: Final = frozenset({"ExecutionDoesNotExist", "ResourceNotFoundException"})
RUNNING: Final = frozenset({"RUNNING", "PENDING_REDRIVE"})
_REPLACED_AT: Final = re.compile(r"-r(\d+)$")
_log = logging.getLogger(__name__)


class Executions:
    """Looks at the execution of a live job."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def tick(self, job: Job, now_ms: int) -> None:
        """Do what is due for a live job. What the engine refuses is logged; the next look tries again."""
        if not is_grown(job, now_ms):
            return
        try:
            status, cause = describe(self._context, job.execution)
        except (ClientError, BotoCoreError) as exc:
            _log.warning("the execution of job %s cannot be looked at: %s", job.job_id, exc)
            return
        if status in RUNNING:
            return
        if status == "ABORTED" and job.state in CANCELLABLE:
            self._cancel(job, cause, now_ms)
        elif status is None or now_ms - replaced_ms(job.execution) > REPLACE_EVERY_MS:
            self._replace(job, now_ms)

    def _cancel(self, job: Job, cause: str, now_ms: int) -> None:
        verdict, _ = self._context.jobs.move(
            job.job_id,
            "CANCELLED",
            now_ms=now_ms,
            cause=f"EXECUTION_STOPPED: the execution was stopped from outside{f' ({cause})' if cause else ''}"[:2000],
            expecting={"execution": job.execution},  # not when it has a new one since
        )
        if verdict is Change.APPLIED:
            _log.warning("job %s was %s and is cancelled: its execution was stopped", job.job_id, job.state)
            record_automatic(self._context.audit, "sweeper", "cancel", job, {"state": "CANCELLED", "cause": cause})

    def _replace(self, job: Job, now_ms: int) -> None:
        name = f"{job.job_id}-r{now_ms}"
        execution = self._context.execution_arn(name)
        # The job belongs to the new execution before that begins: of several sweepers, one starts one. If the start
        # fails, nobody finds the execution, and the next look takes the job over once more.
        if not self._context.jobs.adopt(job.job_id, gone=job.execution, execution=execution):
            return
        try:
            start_execution(self._context, {"resume": job.job_id}, name)
            _log.warning("job %s was %s without an execution and goes on in a new one", job.job_id, job.state)
            record_automatic(self._context.audit, "sweeper", "replace execution", job, {"execution": execution})
        except (ClientError, BotoCoreError) as exc:
            _log.warning("job %s gets no new execution: %s", job.job_id, exc)


def is_grown(of: Job | Export, now_ms: int) -> bool:
    """Whether it is old enough to be looked at."""
    return now_ms - of.created_at_ms > ORPHAN_AFTER_MS


def describe(context: Context, execution: str | None) -> tuple[str | None, str]:
    """(status, cause) of an execution; status none when the engine does not know it. Raises botocore's errors."""
    if execution is None:
        return None, ""
    try:
        found = context.workflow.describe_execution(executionArn=execution)
    except ClientError as exc:
        if exc.response["Error"]["Code"] in _UNKNOWN:
            return None, ""
        raise
    return found["status"], found.get("cause", "")


def stop_execution(context: Context, job_id: JobId, execution: str | None, cause: str) -> None:
    """Stop an execution that may still run; one that has ended is no error, and what the engine refuses is logged."""
    try:
        if execution is not None and describe(context, execution)[0] in RUNNING:
            context.workflow.stop_execution(executionArn=execution, error="Cancelled", cause=cause)
    except (ClientError, BotoCoreError) as exc:
        _log.warning("the execution of job %s could not be stopped: %s", job_id, exc)


def start_execution(context: Context, event: Mapping[str, object], name: str, machine: str = IMPORT_MACHINE) -> str:
    """Start a state machine with an input; returns the execution's ARN. Raises botocore's errors."""
    answer = context.workflow.start_execution(
        stateMachineArn=context.machine_arn(machine), name=name, input=json.dumps(event)
    )
    return answer["executionArn"]


def replaced_ms(execution: str | None) -> int:
    """When an execution took over a job, 0 when it is the job's first."""
    found = _REPLACED_AT.search(execution or "")
    return int(found[1]) if found else 0
