"""AwaitTurn and AwaitMaterialisation: leave the task token where the relay finds it."""

from typing import Final

from orchestration.context import Context
from orchestration.kinds.view import not_mine, view
from schemas.ids import JobId

WAITING: Final = frozenset({"REGISTERED", "AWAITING"})


def begin_await(context: Context, job_id: JobId, execution: str, task_token: str) -> None:
    """Keep the token. A job that waits for nothing, or is not ours, is answered at once."""
    instead = not_mine(context, job_id, execution)
    if instead is None:
        context.jobs.put(job_id, task_token=task_token)
        job = context.jobs.get(job_id)
        instead = view(context, job) if job.state not in WAITING else None
    if instead is not None:
        context.engine.succeed(task_token, instead)
