"""RegisterImport: pin what is read, freeze the import spec and the number of partitions, and create the job, once.

One object, or all files of a set (`kinds.file_sets`).

For a snapshot of a segment, which has no object, see `kinds.snapshot`.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

from connectors.storage.objects import ObjectStore
from connectors.storage.pinned import SourceFiles, SourceObject
from orchestration.catalog.audit import AuditTrail
from orchestration.catalog.auditing import record_automatic
from orchestration.catalog.jobs import JobStore
from orchestration.catalog.places import PlaceStore
from orchestration.catalog.records import JobError, NewJob
from orchestration.catalog.references import ref_of
from orchestration.catalog.segments import SegmentStore
from orchestration.kinds.events import ImportRequest, read_event
from orchestration.kinds.file_sets import Address, check_formats, choose, same_source, store_units
from orchestration.kinds.inbox import of_folders
from orchestration.kinds.places import AllowedLocations
from orchestration.kinds.query_jobs import new_build
from orchestration.kinds.records import NOT_OWNER, ImportRecords, View
from orchestration.kinds.scheduled import resolve
from orchestration.kinds.snapshot.register import new_snapshot, refused_snapshot
from orchestration.kinds.snapshot.request import SnapshotRequest
from orchestration.kinds.sources import require_in_inbox
from orchestration.kinds.specs import Specs, import_spec
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.platform.settings import Settings
from schemas.errors import UserError
from schemas.ids import AudienceName, JobId, TenantName, tenant_name
from schemas.import_spec import ImportSpec
from schemas.import_targets import activity_spec, kind_of_target, target_name
from schemas.layout import UPLOADS_PREFIX, units_key, uploaded
from schemas.log_ids import bind, caller_in
from schemas.records import as_record
from segmentation.admission import Lanes


def register_import(
    event: object,
    execution: str,
    *,
    records: ImportRecords,
    specs: Specs,
    objects: ObjectStore,
    segments: SegmentStore,
    audit: AuditTrail,
    places: PlaceStore,
    lanes: Lanes,
) -> View:
    """Register the request of an event and return the view of the job that continues in this execution.

    Raises `UserError` BAD_EVENT and BAD_PLACEHOLDER for malformed events, and UNKNOWN_JOB. Any other user error makes a
    FAILED job, which the customer sees, instead of an exception.
    """
    if (known := records.jobs.by_execution(execution)) is not None:
        return records.view(known)  # this call got through before, or the job was handed to this execution
    is_snapshot = isinstance(event, Mapping) and "snapshot" in event
    resolved, scheduled_run = resolve(event, "snapshot" if is_snapshot else "import")
    request = read_event(resolved, fresh_id(), records.settings.inbox_prefix)
    if not isinstance(request, ImportRequest | SnapshotRequest):
        return records.view(records.jobs.get(request), state=NOT_OWNER)
    if isinstance(request, ImportRequest) and request.by_event:
        asked = of_folders(request, records.settings.inbox_prefix, specs.audiences)
        if asked is None:  # a part of a folder, which is imported later
            return {"job_id": request.job_id, "state": NOT_OWNER}
        request = asked
    new, first, refused = _new_job_or_refusal(
        request, execution, records=records, specs=specs, objects=objects, segments=segments, places=places
    )
    new = replace(new, source={**new.source, **caller_in(event)})
    again = isinstance(request, ImportRequest) and request.again
    outdated = None if again or first is None else _outdated_original(new, first, records=records, specs=specs)
    registered = records.jobs.register(new, again=again, outdated=outdated, refused=refused)
    if registered != new.job_id and "units" in new.source:  # the original has its own
        objects.delete(records.settings.staging_bucket, units_key(new.job_id, new.source["units"]))
    records.jobs.admit(lanes, now_ms=now_ms())  # if there is room, the job need not wait for the control plane
    job = records.jobs.get(registered)
    bind(**job.log_ids)
    if isinstance(request, ImportRequest) and request.by_event and job.execution == execution:
        detail = event.get("detail") if isinstance(event, Mapping) else None
        requester = detail.get("requester", "unknown") if isinstance(detail, Mapping) else "unknown"
        record_automatic(audit, f"s3 requester {requester}", "import", job, {"state": job.state})
    if scheduled_run is not None and job.execution == execution:
        what = "snapshot" if is_snapshot else "import"
        record_automatic(audit, f"schedule {scheduled_run.schedule_id}", what, job, {"state": job.state})
    return records.view(job, state=None if job.execution == execution else NOT_OWNER)


def _new_job_or_refusal(
    request: ImportRequest | SnapshotRequest,
    execution: str,
    *,
    records: ImportRecords,
    specs: Specs,
    objects: ObjectStore,
    segments: SegmentStore,
    places: PlaceStore,
) -> tuple[NewJob, SourceObject | None, JobError | None]:
    """The job of a request, the first object that it reads, and the error if it is refused."""
    partitions = records.settings.partitions
    first = None
    try:
        if isinstance(request, SnapshotRequest):
            new = new_snapshot(request, execution, segments=segments, specs=specs, partitions=partitions)
        elif request.sql is not None:
            new = new_build(request, execution, specs=specs, settings=records.settings)
        else:
            new, first = _new_job(request, execution, records=records, specs=specs, objects=objects, places=places)
    except UserError as exc:
        refused = refused_snapshot if isinstance(request, SnapshotRequest) else refused_job
        return refused(request, execution, partitions), None, JobError.of(exc)  # type: ignore[arg-type]  # of its kind
    return new, first, None


def _new_job(
    request: ImportRequest,
    execution: str,
    *,
    records: ImportRecords,
    specs: Specs,
    objects: ObjectStore,
    places: PlaceStore,
) -> tuple[NewJob, SourceObject]:
    jobs, settings = records.jobs, records.settings
    if request.by_event:
        require_in_inbox(settings, request.bucket, request.key)
    tenant, target = tenant_name(request.tenant), target_name(request.audience)
    allowed = AllowedLocations(tenant=tenant, places=places, settings=settings)
    address = Address(bucket=request.bucket, key=request.key, form=request.form, version_id=request.version_id)
    chosen = choose(address, objects=objects, allowed=allowed)
    files, first = chosen.files, chosen.files[0]
    spec, audience_id = _spec(specs, tenant, target, request.overrides)
    sequencer = request.sequencer
    if len(files) > 1:
        check_formats(files, spec.format)
        units = store_units(files, request.job_id, objects=objects, bucket=settings.staging_bucket)
        source = chosen.source_record(units)
    else:
        source = {**as_record(first), **chosen.left_out_record()}
        # An object that came by an event keeps its position in the order when it is imported again.
        if not sequencer and audience_id is not None:
            sequencer = jobs.sequencer(audience_id, first.bucket, first.key, first.version_id)
    staging = settings.staging_bucket
    uploads = {upload for file in files if file.bucket == staging and (upload := uploaded(file.key)) is not None}
    new = NewJob(
        job_id=request.job_id,
        tenant=tenant,
        audience=target,
        audience_id=audience_id,
        mode=spec.mode,
        partitions=settings.partitions,
        spec=spec,
        source={**source, "sequencer": sequencer},
        small=chosen.size <= settings.small_file_bytes,
        order_key=order_key(max(files, key=lambda file: file.last_modified), sequencer, request.job_id),
        dedupe_key=dedupe_key(settings, files, request, spec),
        execution=execution,
        retry_of=request.retry_of,
        created_at_ms=now_ms(),
        evidence=_reusable_evidence(jobs, request, source, spec, settings),
        uploads=uploads if len(files) > 1 else (),
    )
    return new, first


def _spec(
    specs: Specs, tenant: TenantName, target: AudienceName, overrides: Mapping[str, Any]
) -> tuple[ImportSpec, JobId | None]:
    """The overrides applied to the stored spec. A new audience is created in state `awaited`."""
    if (kind := kind_of_target(target)) != "audience":
        return specs.for_activity(tenant, kind, overrides), None
    audience = specs.audiences.for_import(tenant, target, new_id=fresh_id(), now_ms=now_ms())
    return import_spec(target, specs.stored(audience), overrides), audience.audience_id


def _reusable_evidence(
    jobs: JobStore, request: ImportRequest, source: Mapping[str, Any], spec: ImportSpec, settings: Settings
) -> Mapping[str, Any] | None:
    """The evidence of the job that is retried, if it read the same object with the same spec.

    None of units that were verified side by side: what they have counted is removed with the earlier job.
    """
    earlier = None if request.retry_of is None else jobs.find(request.retry_of)
    if earlier is None or earlier.evidence is None:
        return None
    if source.get("files", 1) > 1 and int(source["size"]) > settings.unit_bytes:
        return None
    same = same_source(earlier.source, source) and earlier.spec == spec and earlier.partitions == settings.partitions
    return earlier.evidence if same else None


def refused_job(request: ImportRequest, execution: str, partitions: int) -> NewJob:
    """The job of a request that cannot be met."""
    kind = kind_of_target(request.audience)
    spec = ImportSpec() if kind == "audience" else activity_spec(kind, {})
    return NewJob(
        job_id=request.job_id,
        tenant=request.tenant,
        audience=request.audience,
        audience_id=None,
        mode=spec.mode,
        partitions=partitions,
        spec=spec,
        source={
            "bucket": request.bucket,
            "key": request.key,
            "version_id": request.version_id,
            "sequencer": request.sequencer,
            **({} if request.form == "object" else {"form": request.form}),
            **({} if request.sql is None else {"sql": request.sql}),
            "overrides": dict(request.overrides),  # a retry repeats this request
        },
        small=True,
        order_key="",
        dedupe_key=sha256(request.job_id.encode()).hexdigest(),  # a refused request has no duplicates
        execution=execution,
        retry_of=request.retry_of,
        created_at_ms=now_ms(),
    )


def order_key(source: SourceObject, sequencer: str, job_id: JobId) -> str:
    """Order of versions: LastModified (seconds on S3), then sequencer (hex of growing length), then id."""
    modified_ms = int(source.last_modified.timestamp() * 1000)
    return f"{modified_ms:015d}/{sequencer:0>32}/{job_id}"


def _is_upload(settings: Settings, bucket: str, key: str) -> bool:
    return bucket == settings.staging_bucket and key.startswith(UPLOADS_PREFIX)


def _outdated_original(new: NewJob, first: SourceObject, *, records: ImportRecords, specs: Specs) -> JobId | None:
    """The READY job with the same upload, if importing that again may change something. `first`: what `new` reads.

    For an audience, unless that job made the newest version; for profiles, which later imports may have changed. Events
    that are stored stay.
    """
    if not _is_upload(records.settings, first.bucket, first.key):
        return None
    original = records.jobs.ready_original(new.dedupe_key)
    if original is None or new.spec.kind == "events":
        return None
    audience = None if new.audience_id is None else specs.audiences.by_id(new.audience_id)
    newest = None if audience is None else specs.versions().current(ref_of(audience))
    return None if newest is not None and newest.import_id == original else original


def dedupe_key(settings: Settings, files: SourceFiles, request: ImportRequest, spec: ImportSpec) -> str:
    """Key of equal requests: same files in the same order, or for uploads same content; same audience, same options."""
    identities = [
        # Every upload is an object of its own.
        ["upload", file.etag, file.size]
        if _is_upload(settings, file.bucket, file.key)
        else [file.bucket, file.key, file.version]
        for file in files
    ]
    what = identities[0] if len(identities) == 1 else ["files", identities]
    identity = [*what, request.tenant, request.audience, spec.as_record()]
    return sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
