"""RegisterExport: decide once which version of what goes where; for a segment, which snapshot makes the version."""

from dataclasses import replace
from hashlib import sha256

from orchestration.catalog.audit import AuditTrail
from orchestration.catalog.auditing import record
from orchestration.catalog.places import PlaceStore
from orchestration.catalog.records import JobError, NewExport
from orchestration.catalog.segments import SegmentStore
from orchestration.kinds.export.addresses import check_export
from orchestration.kinds.export.base import require_base
from orchestration.kinds.export.pins import Pins
from orchestration.kinds.export.recurring import resolve_scheduled
from orchestration.kinds.export.request import ExportRequest, read_export
from orchestration.kinds.places import AllowedLocations
from orchestration.kinds.records import NOT_OWNER, ExportRecords, View
from orchestration.kinds.snapshot.register import current_rule
from orchestration.platform.clock import now_ms
from schemas.errors import UserError
from schemas.ids import TIME_LENGTH, AudienceName, JobId, audience_name, new_job_id, snapshot_audience, tenant_name
from schemas.log_ids import bind, caller_in


def register_export(
    event: object,
    execution: str,
    *,
    records: ExportRecords,
    pins: Pins,
    segments: SegmentStore,
    audit: AuditTrail,
    places: PlaceStore,
) -> View:
    """Register the export that an event asks for; returns the view of the one that continues in this execution.

    Raises `UserError` BAD_EVENT, BAD_PLACEHOLDER and BAD_FORMAT for an unreadable event, and UNKNOWN_EXPORT. Any other
    user error ends in a FAILED export, which the requester sees, not in an exception.
    """
    if (known := records.exports.by_execution(execution)) is not None:
        return records.view(known)  # this same call got through before, or the control plane handed the export to us
    request = read_export(resolve_scheduled(event))
    if not isinstance(request, ExportRequest):
        return records.view(records.exports.get(request), state=NOT_OWNER)
    new, refused = _plain(request, execution), None
    try:
        tenant = tenant_name(request.tenant)
        allowed = AllowedLocations(tenant=tenant, places=places, settings=records.settings)
        segment = check_export(request, allowed=allowed, audiences=pins.audiences)
        request = replace(
            request, to=allowed.resolved(request.to, request.export_id), consent=None, base=None, segment=segment
        )
        if segment is None:
            new = _of_audience(request, execution, pins, allowed)
        else:
            current_rule(segments, tenant, segment)
            made_before = pins.audiences.find(tenant, audience_name(snapshot_audience(segment)))
            require_base(request, made_before, exports=pins.exports)
            new = _of_segment(request, execution, segment)
    except UserError as exc:
        refused = JobError.of(exc)
    new = replace(new, request={**new.request, **caller_in(event)})
    export = records.exports.register(new, refused=refused)
    bind(**export.log_ids)
    if request.schedule is not None and request.retry_of is None and export.execution == execution:
        after = {"state": export.state}
        object_ = f"{export.tenant}/{export.audience}"
        record(audit, f"schedule {request.schedule}", "export", object_, job_id=export.job_id, after=after)
    return records.view(export, state=None if export.execution == execution else NOT_OWNER)


def _of_audience(request: ExportRequest, execution: str, pins: Pins, allowed: AllowedLocations) -> NewExport:
    audience = pins.audiences.get(allowed.tenant, audience_name(request.audience))
    request, leases = pins.of(request, audience, allowed=allowed)
    return replace(_plain(request, execution), audience_id=audience.audience_id, leases=leases)


def _of_segment(request: ExportRequest, execution: str, segment: AudienceName) -> NewExport:
    """Nothing is pinned before its snapshot has ended: `orchestration.kinds.export.snapshots`."""
    return replace(
        _plain(request, execution), audience=snapshot_audience(segment), snapshot=snapshot_id(request.export_id)
    )


def snapshot_id(export_id: JobId) -> JobId:
    """The id of the snapshot that an export waits for, always the same."""
    own = new_job_id(0, sha256(f"snapshot/{export_id}".encode()).digest()[:10])
    return JobId(export_id[:TIME_LENGTH] + own[TIME_LENGTH:])


def _plain(request: ExportRequest, execution: str) -> NewExport:
    """Without versions; a refused one stays so."""
    return NewExport(
        job_id=request.export_id,
        tenant=request.tenant,
        audience=request.audience,
        audience_id=None,
        request=request.as_record(),
        leases=(),
        execution=execution,
        retry_of=request.retry_of,
        created_at_ms=now_ms(),
    )
