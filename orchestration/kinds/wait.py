"""AwaitTurn, AwaitMaterialisation and AwaitSnapshot: store the task token for the control plane."""

import logging
from typing import Any, Final

from orchestration.kinds.records import JobRecords
from orchestration.workflow.engine import WorkflowEngine
from schemas.errors import FatalError
from schemas.ids import JobId

_log: Final = logging.getLogger(__name__)


def begin_await(
    records: JobRecords[Any], engine: WorkflowEngine, job_id: JobId, execution: str, task_token: str
) -> None:
    """Store the token. A job that need not wait, or belongs to another execution, is answered at once."""
    answer = records.view_for_non_owner(job_id, execution)
    if answer is None:
        records.store.put(job_id, task_token=task_token)
        job = records.store.get(job_id)
        answer = records.view(job) if job.state not in records.waiting else None
    if answer is not None:
        try:
            engine.succeed(task_token, answer)
        except FatalError as exc:  # the token has timed out: the state has another one by now, or has ended
            _log.warning("cannot answer the waiting job %s: %s", job_id, exc)
