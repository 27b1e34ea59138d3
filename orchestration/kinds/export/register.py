"""RegisterExport: decide once which version of what goes where."""

from dataclasses import replace

from orchestration.catalog.audiences import AudienceStore
from orchestration.catalog.audit import AuditTrail
from orchestration.catalog.auditing import record
from orchestration.catalog.consent import ConsentStore
from orchestration.catalog.exports import ExportStore
from orchestration.catalog.places import PlaceStore
from orchestration.catalog.records import Audience, JobError, Lease, NewExport
from orchestration.catalog.references import ref_of
from orchestration.kinds.consent import applicable_lists, pinned_lists
from orchestration.kinds.export.addresses import check_export
from orchestration.kinds.export.base import resolve_base
from orchestration.kinds.export.recurring import resolve_scheduled
from orchestration.kinds.export.request import ExportRequest, read_export
from orchestration.kinds.export.shapes import pinned_shape
from orchestration.kinds.export.versions import resolve_version
from orchestration.kinds.places import DOWNLOAD, AllowedLocations
from orchestration.kinds.records import NOT_OWNER, ExportRecords, View
from orchestration.platform.clock import now_ms
from schemas.errors import UserError
from schemas.export_shape import ConsentLists
from schemas.ids import audience_name, tenant_name
from schemas.log_ids import bind, caller_in
from segmentation.versions import VersionStore


def register_export(
    event: object,
    execution: str,
    *,
    records: ExportRecords,
    audiences: AudienceStore,
    versions: VersionStore,
    audit: AuditTrail,
    consent: ConsentStore,
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
    refused = None
    try:
        tenant = tenant_name(request.tenant)
        allowed = AllowedLocations(tenant=tenant, places=places, settings=records.settings)
        check_export(request, allowed=allowed, audiences=audiences)
        request = replace(request, to=allowed.resolved(request.to, request.export_id))
        policy = consent.of(tenant)
        lists = applicable_lists(
            policy.lists, to=request.to, profile=request.profile, downloads=allowed.resolved(DOWNLOAD, "")
        )
        audience = audiences.get(tenant, audience_name(request.audience))
        pinned = pinned_lists(
            lists, exported=audience.audience_id, audiences=audiences, versions=versions, now_ms=now_ms()
        )
        policy_lists = ConsentLists(policy=policy.policy, lists=tuple(pinned)) if policy.policy else None
        request = replace(request, consent=policy_lists)
        new = _new_export(audience, request, execution, exports=records.exports, audiences=audiences, versions=versions)
    except UserError as exc:
        new, refused = _refused_export(request, execution), JobError.of(exc)
    new = replace(new, request={**new.request, **caller_in(event)})
    export = records.exports.register(new, refused=refused)
    bind(**export.log_ids)
    if request.schedule is not None and request.retry_of is None and export.execution == execution:
        after = {"state": export.state}
        object_ = f"{export.tenant}/{export.audience}"
        record(audit, f"schedule {request.schedule}", "export", object_, job_id=export.job_id, after=after)
    return records.view(export, state=None if export.execution == execution else NOT_OWNER)


def _new_export(
    audience: Audience,
    request: ExportRequest,
    execution: str,
    *,
    exports: ExportStore,
    audiences: AudienceStore,
    versions: VersionStore,
) -> NewExport:
    version = resolve_version(versions, audience, version=request.version, as_of=request.moment)
    request = request.resolved(version, pinned_shape(audiences, versions, audience.tenant, request.shape))
    others = tuple(
        Lease(audience=ref_of(audiences.get(audience.tenant, one.audience)), version=one.version)
        for one in request.other_audiences
        if one.version is not None
    )
    request, base = resolve_base(request, ref_of(audience), others, exports=exports, versions=versions)
    return NewExport(
        job_id=request.export_id,
        tenant=audience.tenant,
        audience=audience.name,
        audience_id=audience.audience_id,
        request=request.as_record(),
        leases=(Lease(audience=ref_of(audience), version=version), *others, *base),
        execution=execution,
        retry_of=request.retry_of,
        created_at_ms=now_ms(),
    )


def _refused_export(request: ExportRequest, execution: str) -> NewExport:
    return NewExport(
        job_id=request.export_id,
        tenant=request.tenant,
        audience=request.audience,
        audience_id=None,
        request=replace(request, consent=None, base=None).as_record(),
        leases=(),
        execution=execution,
        retry_of=request.retry_of,
        created_at_ms=now_ms(),
    )
