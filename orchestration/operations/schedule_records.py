"""Schedules as plain JSON data, with the state of their last runs."""

from typing import TYPE_CHECKING, Any

from orchestration.catalog.schedules import Schedule
from orchestration.platform.clock import iso
from schemas.ids import JobId
from schemas.job_kinds import REQUEST_KINDS
from schemas.records import as_record

if TYPE_CHECKING:
    from orchestration.catalog.exports import ExportStore
    from orchestration.catalog.jobs import JobStore
    from orchestration.catalog.records import Export, Job


def schedule_record(jobs: "JobStore", exports: "ExportStore", schedule: Schedule) -> dict[str, Any]:
    """A schedule as plain JSON data, with the state of its last run."""
    last = None
    if schedule.last_due_ms is not None:
        last = {
            "due": iso(schedule.last_due_ms),
            "execution": schedule.last_execution,
            **last_run(jobs, exports, schedule),
        }
    return {
        "schedule": schedule.schedule_id,
        "tenant": schedule.tenant,
        "name": schedule.name,
        "kind": schedule.kind,
        "expression": schedule.expression,
        "timezone": schedule.timezone,
        "enabled": schedule.enabled,
        "created_at": iso(schedule.created_at_ms),
        "next_due": iso(schedule.next_due_ms) if schedule.enabled and schedule.next_due_ms is not None else None,
        "request": dict(schedule.request),
        "trouble": schedule.trouble,
        "last": last,
    }


def last_run(jobs: "JobStore", exports: "ExportStore", schedule: Schedule) -> dict[str, Any]:
    """{state, job or export, error} of the last run.

    The state is that of its job or export, or else STARTED, REFUSED, or DUPLICATE if there was nothing new to import.
    """
    outcome, key = schedule.last_outcome or {}, REQUEST_KINDS[schedule.kind].key
    if "refused" in outcome:
        return {"state": "REFUSED", key: None, "error": outcome["refused"]}
    run = JobId(outcome[key]) if key in outcome else None
    if schedule.kind != "export":
        job = None if run is None else jobs.find(run)
        if job is not None and job.job_id != run:
            return {"state": "DUPLICATE", key: job.job_id, "error": None}
        found: Job | Export | None = job
    else:
        found = None if run is None else exports.find(run)
    if found is None:
        return {"state": "STARTED", key: None, "error": None}
    return {"state": found.state, key: run, "error": None if found.error is None else as_record(found.error)}
