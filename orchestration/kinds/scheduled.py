"""The input that a schedule starts a workflow with, and how the first stage turns it into a request.

    {"schedule": {"id": ..., "timezone": ..., "due": "2026-11-25T09:00:00Z"}, "import": {...}}

Or "export", or "snapshot". The request may have placeholders in its address, and has no id. It may be sent twice, to
two executions: the id of a run is derived from its schedule and due time, so that it is registered once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

from orchestration.catalog.schedules import Schedule
from schemas.errors import UserError
from schemas.ids import JobId, job_id, new_job_id
from schemas.job_kinds import REQUEST_KINDS, RequestKind
from segmentation.cron import FIRST_YEAR
from segmentation.placeholders import fill
from segmentation.timetable import time_zone


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledRun:
    """One run of a schedule, with its due time."""

    schedule_id: JobId
    zone: ZoneInfo
    due_ms: int

    @property
    def run_id(self) -> JobId:
        """The id of the job or export, always the same."""
        return run_id(self.schedule_id, self.due_ms)


def run_id(schedule_id: JobId, due_ms: int) -> JobId:
    """The id of the job or export of a schedule and a due time."""
    return new_job_id(due_ms, sha256(f"{schedule_id}/{due_ms}".encode()).digest()[:10])


def event_of(schedule: Schedule, due_ms: int) -> dict[str, Any]:
    """The input of the workflow for one run of a schedule."""
    due = datetime.fromtimestamp(due_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    scheduled_run = {"id": schedule.schedule_id, "timezone": schedule.timezone, "due": due}
    return {"schedule": scheduled_run, schedule.kind: dict(schedule.request)}


def resolve(event: object, kind: RequestKind) -> tuple[object, ScheduledRun | None]:
    """The event with a definite request, and the occasion. An event without a schedule is returned as it is.

    Raises `UserError` BAD_EVENT, BAD_PLACEHOLDER.
    """
    if not isinstance(event, Mapping) or "schedule" not in event:
        return event, None
    scheduled_run, request = _parse_run(event["schedule"]), event.get(kind)
    if not isinstance(request, Mapping):
        raise _bad(f"{kind} is missing")
    traits = REQUEST_KINDS[kind]
    definite = {**request, f"{traits.key}_id": scheduled_run.run_id}
    if traits.address is not None:
        address = request.get(traits.address)
        if not isinstance(address, str):
            raise _bad(f"{kind}.{traits.address} is {type(address).__name__}, not a string")
        definite[traits.address] = fill(address, scheduled_run.due_ms, scheduled_run.zone)
    return {kind: definite}, scheduled_run


def _parse_run(record: object) -> ScheduledRun:
    if not isinstance(record, Mapping) or not all(isinstance(record.get(n), str) for n in ("id", "timezone", "due")):
        raise _bad("schedule is not an object with the strings id, timezone and due")
    try:
        due = datetime.strptime(record["due"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        if due.year < FIRST_YEAR:
            raise ValueError
    except ValueError as exc:
        raise _bad(f"schedule.due {record['due'][:80]!r} is not a time like 2026-11-25T09:00:00Z") from exc
    try:
        zone, schedule_id = time_zone(record["timezone"]), job_id(record["id"])
    except UserError as exc:
        raise _bad(f"schedule: {exc.message}") from exc
    return ScheduledRun(schedule_id=schedule_id, zone=zone, due_ms=int(due.timestamp()) * 1000)


def _bad(why: str) -> UserError:
    return UserError("BAD_EVENT", f"cannot start a scheduled run with this event: {why}", why=why)
