"""Exports on the whole stack: started, followed, swept, and compared with what the receiver must have."""

from connectors.storage.listing import list_objects
from orchestration.catalog.records import Export
from orchestration.catalog.references import ref_of
from orchestration.composition import administration, control_plane
from orchestration.composition.context import Context
from orchestration.control.gc.exports import SWEEP_AFTER_MS
from orchestration.kinds.export.request import ExportRequest
from orchestration.platform.clock import fresh_id, now_ms
from schemas.counters import Counters
from schemas.ids import AudienceName
from schemas.layout import split_s3_uri
from schemas.manifest import ExportFormat
from segmentation.export_jobs import ENDED
from segmentation.versions import AudienceRef
from tests.faults.waiting import until
from tests.integration.whole_imports import TENANT


def ref(context: Context, name: str) -> AudienceRef:
    return ref_of(context.audiences.get(TENANT, AudienceName(name)))


def start(context: Context, audience: str, **changes: object) -> ExportRequest:
    """Start an export of an audience, with a group for each of its partitions."""
    export_id = fresh_id()
    given: dict[str, object] = {
        "export_id": export_id,
        "tenant": TENANT,
        "audience": audience,
        "to": f"s3://{context.settings.lake_bucket}/exports/{export_id}",
        "format": ExportFormat(format="csv", null_token="", compression="gzip"),
        "target_bytes": 1,
    }
    request = ExportRequest(**{**given, **changes})  # type: ignore[arg-type]
    context.export_jobs.submit(request)
    return request


def finished(context: Context, request: ExportRequest) -> Export:
    def find() -> Export | None:
        found = context.exports.find(request.export_id)
        return found if found is not None and found.state in ENDED else None

    return until(find, f"the end of export {request.export_id}", timeout_s=200)


def sweep(context: Context, request: ExportRequest) -> None:
    """Do what the control plane does some seconds after the end of an export."""
    control_plane.ended_exports(context, Counters()).tick(now_ms() + SWEEP_AFTER_MS + 1)
    assert context.exports.get(request.export_id).swept_at_ms is not None


def files(context: Context, request: ExportRequest) -> set[str]:
    bucket, prefix = split_s3_uri(request.to)
    return {entry.key.removeprefix(f"{prefix}/") for entry in list_objects(context.s3.client(), bucket, prefix)}


def assert_received(context: Context, request: ExportRequest) -> None:
    """Check that everything adds up, and that the sweep leaves nothing else."""
    export = finished(context, request)
    assert (export.state, export.error) == ("READY", None)
    sweep(context, request)
    manifest, difference = administration.received_exports(context).verify(f"{request.to}/manifest.json")
    assert difference is None
    version = context.versions.current(ref(context, request.audience))
    assert version is not None
    assert (manifest.rows, manifest.digest) == (version.members, version.digest)
    assert files(context, request) == {"manifest.json", *(file.key for file in manifest.files)}


def attempts(context: Context, request: ExportRequest) -> list[int]:
    """Number of attempts of each group."""
    return [group.attempt for group in context.exports.groups(request.export_id)]
