"""Failures: of the file (user error) or of the system, and what is retried."""

import json
from collections.abc import Mapping
from typing import Any

from orchestration.catalog.records import JobError
from orchestration.kinds.records import ImportRecords, View
from orchestration.platform.clock import now_ms
from schemas.errors import FatalError, MusterError, UserError
from schemas.ids import JobId
from schemas.records import as_record, from_record

MAX_RETRIES = 2
"""Attempts after the first one if the stream does not reconcile."""


def extract_cause(job_id: JobId, failure: Mapping[str, Any]) -> dict[str, Any]:
    """The user error of a failed state as data. `failure`: the {Error, Cause} of a Catch."""
    return {"job_id": job_id, "error": as_record(error_of(failure))}


def error_in(event: Mapping[str, Any]) -> JobError:
    """The error in the input of a state: one that was extracted before, or the failure of a Catch."""
    return from_record(JobError, event["error"]) if "error" in event else error_of(event["failure"])


def error_of(failure: Mapping[str, Any]) -> JobError:
    """The error in `{Error, Cause}`: Lambda's cause is JSON whose errorMessage is one of our error records."""
    name, cause = str(failure.get("Error", "Unknown")), str(failure.get("Cause", ""))
    for text in (_message(cause), cause):
        try:
            record = json.loads(text)
            kind = "user" if record["kind"] == "user" else "system"
            return JobError(kind=kind, code=record["code"], message=record["message"], detail=record["detail"])
        except (ValueError, KeyError, TypeError):
            continue
    return JobError(kind="system", code=name, message=_message(cause)[:4000] or name, detail={})


def error_record(failure: Mapping[str, Any]) -> dict[str, Any]:
    """The same error as the record of a `MusterError`."""
    error = error_of(failure)
    made = (UserError if error.kind == "user" else FatalError)(error.code, error.message, **error.detail)
    return made.as_record()


def _message(cause: str) -> str:
    try:
        parsed = json.loads(cause)
    except ValueError:
        return cause
    return str(parsed.get("errorMessage", cause)) if isinstance(parsed, dict) else cause


def retry_import(records: ImportRecords, job_id: JobId, failure: Mapping[str, Any]) -> View:
    """AWAITING -> IMPORTING for another attempt. Raises `FatalError` NOT_RECONCILED after the last one."""
    job = records.jobs.get(job_id)
    reason = error_of(failure).message
    if job.state == "AWAITING" and job.attempt > MAX_RETRIES:
        raise FatalError("NOT_RECONCILED", f"after {job.attempt} attempts: {reason}", job=job_id, attempt=job.attempt)
    _, job = records.jobs.move(job_id, "IMPORTING", now_ms=now_ms(), cause=reason[:2000], only_from={"AWAITING"})
    return records.view(job)


def read_outcome(records: ImportRecords, job_id: JobId) -> View:
    """The view after a task. Raises the `UserError` or `FatalError` that it recorded: a task returns only a code."""
    job = records.jobs.get(job_id)
    record = records.jobs.task_error(job_id)
    if record is not None:
        raise MusterError.from_record(record)
    return records.view(job)
