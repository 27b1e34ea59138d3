"""The version of an export of a segment: the snapshot that makes it, and what becomes of the export when that ends."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orchestration.kinds.export.destinations import request_of
from orchestration.kinds.export.pins import Pins
from orchestration.kinds.places import AllowedLocations
from orchestration.kinds.snapshot.request import SnapshotRequest
from orchestration.platform.clock import now_ms
from schemas.errors import FatalError, MusterError, UserError
from schemas.ids import JobId
from schemas.log_ids import caller_in
from segmentation.jobs import FINAL

if TYPE_CHECKING:
    from orchestration.catalog.jobs import JobStore
    from orchestration.catalog.places import PlaceStore
    from orchestration.catalog.records import Export, Job
    from orchestration.kinds.records import ExportRecords


def snapshot_event(export: "Export") -> dict[str, Any]:
    """The input of the execution that takes the snapshot of an export in AWAITING, always the same."""
    wanted = request_of(export)
    request = SnapshotRequest(
        job_id=snapshot_of(export),
        tenant=export.tenant,
        segment=str(wanted.segment),
        audience=export.audience,
        allow_shrink=wanted.allow_shrink,
    )
    return {"snapshot": request.as_record(), **caller_in(export.request)}


def snapshot_of(export: "Export") -> JobId:
    """The snapshot that an export waits for. Raises `FatalError` NO_SNAPSHOT if it is of an audience."""
    if export.snapshot is None:
        raise FatalError("NO_SNAPSHOT", f"export {export.job_id} waits for no snapshot", job=export.job_id)
    return export.snapshot


def pin_snapshot(
    export: "Export", *, records: "ExportRecords", jobs: "JobStore", pins: Pins, places: "PlaceStore"
) -> "Export":
    """AWAITING -> REGISTERED with the version of the snapshot, and all others; no change before the snapshot has ended.

    A snapshot that was superseded leaves the version that superseded it, or a newer one. Raises the error of a
    snapshot that failed; `UserError` SNAPSHOT_CANCELLED; `FatalError` SNAPSHOT_LOST if it was never registered; and as
    `Pins.of`.
    """
    job = jobs.find(snapshot_of(export))
    if job is None:
        raise FatalError(
            "SNAPSHOT_LOST",
            f"snapshot {export.snapshot} of the segment was never registered; export again",
            export=export.job_id,
            snapshot=export.snapshot,
        )
    if job.state not in FINAL:
        return export
    _require_published(job)
    audience = None if job.audience_id is None else pins.audiences.by_id(job.audience_id)
    if audience is None:
        raise UserError(
            "AUDIENCE_DELETED",
            f"audience {job.audience} was deleted before its version could be exported",
            audience=job.audience,
        )
    outcome = job.outcome or {}
    version = int(outcome["version"]) if job.state == "READY" else None
    request = replace(request_of(export), audience=audience.name, version=version, allow_shrink=False)
    allowed = AllowedLocations(tenant=audience.tenant, places=places, settings=records.settings)
    request, leases = pins.of(request, audience, allowed=allowed)
    _, export = records.exports.move(
        export.job_id,
        "REGISTERED",
        now_ms=now_ms(),
        cause=f"version {request.version} of {audience.name}, by snapshot {job.job_id}",
        only_from={"AWAITING"},
        audience=audience.name,
        audience_id=audience.audience_id,
        request={**request.as_record(), **caller_in(export.request)},
        held=[lease.as_record() for lease in leases],
        task_token=None,
    )
    return export


def _require_published(job: "Job") -> None:
    if job.state == "CANCELLED":
        raise UserError(
            "SNAPSHOT_CANCELLED",
            f"snapshot {job.job_id} of segment {job.segment} was cancelled: there is nothing to export; export again",
            snapshot=job.job_id,
        )
    if job.state == "FAILED" and job.error is not None:
        message = f"snapshot {job.job_id} of segment {job.segment} failed: {job.error.message}"
        if job.error.code == "AUDIENCE_WOULD_SHRINK":
            message += "; if so many members should leave, export again with --allow-shrink"
        raise MusterError.from_record(
            {
                "kind": job.error.kind,
                "code": job.error.code,
                "message": message,
                "detail": {**job.error.detail, "snapshot": job.job_id},
            }
        )
