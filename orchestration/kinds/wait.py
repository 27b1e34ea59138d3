"""AwaitTurn and AwaitMaterialisation: leave the task token where the relay finds it."""

from typing import Final

from orchestration.kinds.records import ImportRecords
from orchestration.workflow.engine import WorkflowEngine
from schemas.ids import JobId

WAITING: Final = frozenset({"REGISTERED", "AWAITING"})


def begin_await(records: ImportRecords, engine: WorkflowEngine, job_id: JobId, execution: str, task_token: str) -> None:
    """Keep the token. A job that waits for nothing, or is not ours, is answered at once."""
    instead = records.not_mine(job_id, execution)
    if instead is None:
        records.jobs.put(job_id, task_token=task_token)
        job = records.jobs.get(job_id)
        instead = records.view(job) if job.state not in WAITING else None
    if instead is not None:
        engine.succeed(task_token, instead)
