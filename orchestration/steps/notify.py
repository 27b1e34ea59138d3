"""Notify: tell people how a job ended, once its state is in the catalog.

The word goes to the log of the deployment, one JSON line a job; programs follow `muster.job-events` instead, which the
relay fills from the same history.
"""

import json
import logging
from collections.abc import Mapping
from typing import Any

from orchestration.catalog.records import Job
from orchestration.context import Context
from orchestration.steps.view import View, view
from schemas.ids import JobId

_log = logging.getLogger("muster.notifications")


def notify(context: Context, job_id: JobId, outcome: str) -> View:
    """Log the outcome: `ready`, `superseded` and `user-error` as information, `system-error` as an error."""
    job = context.jobs.get(job_id)
    level = logging.ERROR if outcome == "system-error" else logging.INFO
    _log.log(level, "%s", json.dumps(notification(job, outcome), sort_keys=True))
    return view(context, job)


def notify_unregistered(event: Mapping[str, Any], execution: str) -> None:
    """Log as an error that an import could not be registered: the input names the object, the failure says why."""
    record = {"outcome": "not-registered", "execution": execution, "input": dict(event)}
    _log.error("%s", json.dumps(record, sort_keys=True, default=str))


def notification(job: Job, outcome: str) -> dict[str, Any]:
    """What is told: who, which job, how it ended, and what to do next."""
    return {
        "outcome": outcome,
        "job": job.job_id,
        "tenant": job.tenant,
        "audience": job.audience,
        "state": job.state,
        "result": dict(job.outcome or {}),
        "error": None if job.error is None else {"code": job.error.code, "message": job.error.message},
    }
