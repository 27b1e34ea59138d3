"""Notify: tell people and programs how a job ended, once its state is in the catalog.

1. A row of the outbox for each recipient: from here it is told at least once, whatever dies.
2. One try at once, for a few seconds at most; the relay does the rest.
Neither a dead mail server nor a dead receiver is a failure of this step. Programs that follow all jobs rather read
`muster.job-events`, which the relay fills from the same history.
"""

from collections.abc import Mapping
from typing import Any, cast

from orchestration.context import Context
from orchestration.kinds.fail import error_of
from orchestration.kinds.view import View, view
from orchestration.notifications.outbox import Outcome
from orchestration.platform.clock import now_ms
from schemas.ids import JobId
from schemas.log_ids import bind


def notify(context: Context, job_id: JobId, outcome: str) -> View:
    """Tell the outcome: `ready`, `superseded` and `user-error` to the customer, `system-error` to the operators."""
    job = context.jobs.get(job_id)
    bind(job=job_id, attempt=job.attempt, tenant=job.tenant, audience=job.audience)
    rows = context.notices.of_job(job, cast(Outcome, outcome), now_ms())  # 1
    context.notices.courier().deliver_at_once(rows)  # 2
    return view(context, job)


def notify_unregistered(context: Context, event: object, failure: Mapping[str, Any], execution: str) -> None:
    """Tell the operators that an import could not be registered: `failure` says why.

    `event` is what the execution was started with, whatever that is; it may name the object.
    """
    cause = error_of(failure)
    told = {"kind": cause.kind, "code": cause.code, "message": cause.message}
    rows = context.notices.of_unregistered(event, execution, told, now_ms())
    context.notices.courier().deliver_at_once(rows)
