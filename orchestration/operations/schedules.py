"""Recurring imports, exports and snapshots: create, edit, pause, resume, delete, and start a run."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from connectors.sinks.addresses import S3
from orchestration.catalog.schedules import Schedule
from orchestration.kinds.export.addresses import check_export
from orchestration.kinds.export.request import SINCE_LAST, ExportRequest
from orchestration.kinds.places import AllowedLocations
from orchestration.kinds.query_jobs import source_of_query
from orchestration.kinds.scheduled import event_of, run_id
from orchestration.kinds.snapshot.request import SnapshotRequest
from orchestration.operations.submit import check_names, check_target, require_tenant, source_of
from orchestration.platform.clock import fresh_id
from orchestration.workflow.engine import EXPORT_MACHINE, IMPORT_MACHINE, WorkflowEngine
from schemas.errors import UserError
from schemas.file_lists import SourceForm
from schemas.ids import JobId, TenantName, schedule_name, segment_name, tenant_name
from schemas.import_spec import ImportSpec
from schemas.import_targets import activity_spec, kind_of_target
from schemas.job_kinds import REQUEST_KINDS, RequestKind
from schemas.log_ids import caller
from segmentation.placeholders import check_placeholders, check_varies
from segmentation.timetable import Timetable, timetable, whole_second

if TYPE_CHECKING:
    from orchestration.catalog.audiences import AudienceStore
    from orchestration.catalog.exports import ExportStore
    from orchestration.catalog.jobs import JobStore
    from orchestration.catalog.schedules import ScheduleStore
    from orchestration.catalog.segments import SegmentStore
    from orchestration.platform.settings import Settings

MACHINES: Final = {"job": IMPORT_MACHINE, "export": EXPORT_MACHINE}
"""The machine that a run starts, by the key of its id."""


_ONE_TIME_EXPORT: Final = frozenset({"export_id", "version", "as_of", "retry_of", "schedule", "consent", "base"})
_ONE_TIME_SNAPSHOT: Final = frozenset({"job_id", "at_ms", "retry_of"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A change of the schedule `seen`. `enabled`: whether it runs afterwards."""

    seen: Schedule
    enabled: bool


def schedule_import(
    name: str,
    uri: str,
    *,
    form: SourceForm = "object",
    expression: str,
    timezone: str,
    tenant: str,
    audience: str,
    overrides: Mapping[str, Any],
    again: bool,
    now_ms: int,
    audiences: "AudienceStore",
    schedules: "ScheduleStore",
    settings: "Settings",
    edited: Edit | None = None,
) -> Schedule:
    """Create a schedule that imports an object repeatedly, or make an edit. The object need not exist yet.

    `form`: whether `uri` is the object, a prefix of several, or a list of them. `audience`: its name, or the reserved
    name of events or profiles. Raises `UserError` BAD_NAME, UNKNOWN_TENANT, BAD_URI, BAD_SOURCE, BAD_SCHEDULE,
    BAD_TIMEZONE, BAD_PLACEHOLDER, BAD_SPEC, BAD_COLUMN, SCHEDULE_EXISTS, STALE_ETAG.
    """
    names, times = check_target(audiences, tenant, audience), _times(expression, timezone, now_ms, edited)
    bucket, key = source_of(settings, names[0], uri)
    check_placeholders(key)
    request = {
        "tenant": names[0],
        "audience": names[1],
        "bucket": bucket,
        "key": key,
        **({} if form == "object" else {"form": form}),
        "overrides": dict(overrides),
        "again": again,
    }
    if (kind := kind_of_target(names[1])) == "audience":
        ImportSpec.from_record({**ImportSpec().as_record(), **overrides})
    else:
        activity_spec(kind, overrides)
    return _keep(schedules, name, names[0], "import", times, request, now_ms, edited)


def schedule_build(
    name: str,
    sql: str,
    *,
    expression: str,
    timezone: str,
    tenant: str,
    audience: str,
    overrides: Mapping[str, Any],
    now_ms: int,
    audiences: "AudienceStore",
    schedules: "ScheduleStore",
    settings: "Settings",
    edited: Edit | None = None,
) -> Schedule:
    """Create a schedule that imports what a query finds, or make an edit. Raises as `schedule_import`."""
    names, times = check_names(audiences, tenant, audience), _times(expression, timezone, now_ms, edited)
    ImportSpec.from_record({**ImportSpec().as_record(), **overrides})
    request = {
        "tenant": names[0],
        "audience": names[1],
        "overrides": dict(overrides),
        **source_of_query(sql, settings),
    }
    return _keep(schedules, name, names[0], "import", times, request, now_ms, edited)


def schedule_export(
    name: str,
    request: ExportRequest,
    *,
    expression: str,
    timezone: str,
    since_last: bool,
    now_ms: int,
    allowed: AllowedLocations,
    audiences: "AudienceStore",
    schedules: "ScheduleStore",
    edited: Edit | None = None,
) -> Schedule:
    """Create a schedule that exports an audience repeatedly, or make an edit.

    `request` says what to export and how. Its address has placeholders, so that each run writes elsewhere; its id is
    ignored. `since_last`: only what has changed since the schedule's last export. `reach`: of the tenant.

    Raises `UserError` UNKNOWN_TENANT, BAD_SCHEDULE, BAD_TIMEZONE, BAD_PLACEHOLDER, ADDRESS_REPEATS,
    SCHEDULE_EXISTS, STALE_ETAG, and as `check_export`.
    """
    tenant = tenant_name(request.tenant)
    require_tenant(audiences, tenant)
    times = _times(expression, timezone, now_ms, edited)
    check_export(request, allowed=allowed, audiences=audiences)
    if request.to.startswith(S3):  # a topic takes one export after another, a download has an address for each run
        check_varies(request.to, times, whole_second(now_ms) - 1)
    else:
        check_placeholders(request.to)
    record = {name: value for name, value in request.as_record().items() if name not in _ONE_TIME_EXPORT}
    record |= {"delta_from": SINCE_LAST if since_last else None}
    return _keep(schedules, name, tenant, "export", times, record, now_ms, edited)


def schedule_snapshot(
    name: str,
    request: SnapshotRequest,
    *,
    expression: str,
    timezone: str,
    now_ms: int,
    audiences: "AudienceStore",
    schedules: "ScheduleStore",
    segments: "SegmentStore",
    edited: Edit | None = None,
) -> Schedule:
    """Create a schedule that repeatedly publishes the members of a segment, or make an edit.

    Raises `UserError` BAD_NAME, UNKNOWN_TENANT, UNKNOWN_SEGMENT, BAD_SCHEDULE, BAD_TIMEZONE, SCHEDULE_EXISTS,
    STALE_ETAG.
    """
    tenant, _ = check_names(audiences, request.tenant, request.audience)
    segments.get(tenant, segment_name(request.segment))
    times = _times(expression, timezone, now_ms, edited)
    record = {name: value for name, value in request.as_record().items() if name not in _ONE_TIME_SNAPSHOT}
    return _keep(schedules, name, tenant, "snapshot", times, record, now_ms, edited)


def _keep(
    schedules: "ScheduleStore",
    name: str,
    tenant: TenantName,
    kind: RequestKind,
    times: Timetable,
    request: Mapping[str, Any],
    now_ms: int,
    edited: Edit | None,
) -> Schedule:
    if edited is not None:
        return _change(schedules, edited, times, request, now_ms)
    new = Schedule(
        schedule_id=fresh_id(),
        tenant=tenant,
        name=schedule_name(name),
        kind=kind,
        expression=times.text,
        timezone=times.zone.key,
        request=request,
        enabled=True,
        created_at_ms=now_ms,
        next_due_ms=_first(times, whole_second(now_ms)),  # a rate starts now
    )
    schedules.add(new)
    return new


def _change(
    schedules: "ScheduleStore", edit: Edit, times: Timetable, request: Mapping[str, Any], now_ms: int
) -> Schedule:
    seen = edit.seen
    new = replace(
        seen, expression=times.text, timezone=times.zone.key, request=request, enabled=edit.enabled, trouble=None
    )
    other_times = (new.expression, new.timezone) != (seen.expression, seen.timezone)
    if other_times or (new.enabled and not seen.enabled):  # missed runs are not made up for
        new = replace(new, next_due_ms=_first(times, now_ms))
    if not schedules.change(seen, new):
        raise _stale(seen)
    return new


def _stale(seen: Schedule) -> UserError:
    return UserError("STALE_ETAG", f"schedule {seen.name} has been changed meanwhile; read it again, then repeat")


def _times(expression: str, timezone: str, now_ms: int, edited: Edit | None) -> Timetable:
    """A rate counts from the creation of its schedule, also after an edit."""
    return timetable(expression, timezone, now_ms if edited is None else edited.seen.created_at_ms)


def _first(times: Timetable, from_ms: int) -> int:
    due = times.after(from_ms - 1)
    if due is None:
        raise UserError("BAD_SCHEDULE", f"{times.text} is never due again", expression=times.text)
    return due


def switch(schedules: "ScheduleStore", edit: Edit, now_ms: int) -> Schedule:
    """Pause a schedule, or resume it at its first time after now.

    Raises `UserError` STALE_ETAG, BAD_SCHEDULE if it is never due again.
    """
    if edit.enabled == edit.seen.enabled:
        return edit.seen
    return _change(schedules, edit, edit.seen.times, edit.seen.request, now_ms)


def delete(schedules: "ScheduleStore", seen: Schedule) -> None:
    """Delete a schedule; what its runs have produced stays. Raises `UserError` STALE_ETAG."""
    if not schedules.delete(seen):
        raise _stale(seen)


def run_now(tenant: str, name: str, now_ms: int, *, engine: WorkflowEngine, schedules: "ScheduleStore") -> JobId:
    """Start a run now, even of a paused schedule; returns the id of its job or export, one for each second.

    Raises `UserError` UNKNOWN_SCHEDULE; `RetriableError` ENGINE_UNAVAILABLE, `FatalError` ENGINE_REFUSED.
    """
    found, due = find(schedules, tenant, name), whole_second(now_ms)
    execution = start_run(engine, found, due)
    while not schedules.record_run(
        found.schedule_id, seen_ms=found.next_due_ms, due_ms=due, execution=execution, next_due_ms=found.next_due_ms
    ):  # the relay has just started the due run
        found = find(schedules, tenant, name)
    return run_id(found.schedule_id, due)


def find(schedules: "ScheduleStore", tenant: str, name: str) -> Schedule:
    """The schedule of that name. Raises `UserError` BAD_NAME, UNKNOWN_SCHEDULE."""
    return schedules.get(tenant_name(tenant), schedule_name(name))


def start_run(engine: WorkflowEngine, schedule: Schedule, due_ms: int) -> str:
    """Start the workflow for a due time, at most once however often this is called; returns the execution's ARN.

    Raises `RetriableError` ENGINE_UNAVAILABLE, `FatalError` ENGINE_REFUSED.
    """
    machine = MACHINES[REQUEST_KINDS[schedule.kind].key]
    name = f"{schedule.schedule_id}-{due_ms}"
    engine.start(machine, name, {**event_of(schedule, due_ms), **caller()})
    return engine.execution_arn(name, machine)


def registered(jobs: "JobStore", exports: "ExportStore", schedule: Schedule, due_ms: int) -> Mapping[str, Any] | None:
    """Result of the run for a due time: {job: id} or {export: id}. None if nothing is registered."""
    run = run_id(schedule.schedule_id, due_ms)
    if schedule.kind == "export":
        return None if exports.find(run) is None else {"export": run}
    return None if jobs.find(run) is None else {"job": run}
