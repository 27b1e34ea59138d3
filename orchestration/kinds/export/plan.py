"""PlanExport: hold the versions, check the destination, and split the work into groups."""

from connectors.sinks.exporting import require_free
from connectors.storage.access import S3Access
from orchestration.catalog.exports import ExportStore
from orchestration.catalog.records import Export
from orchestration.kinds.export.destinations import destination_of, order_of, request_of
from orchestration.kinds.export.topics import begin, is_topic
from orchestration.kinds.records import GROUPS_MAX, ExportRecords, View
from orchestration.platform.clock import now_ms
from schemas.errors import UserError
from schemas.ids import JobId
from segmentation.versions import VersionStore


def plan_export(export_id: JobId, *, records: ExportRecords, versions: VersionStore, s3: S3Access) -> View:
    """REGISTERED -> WRITING.

    Raises `UserError` NO_SUCH_VERSION, AUDIENCE_DELETED, SCHEMA_MISMATCH, DESTINATION_EXISTS, DESTINATION_BUSY,
    DESTINATION_NOT_WRITABLE, TOO_MANY_GROUPS; for a topic, as `topics.begin`.
    """
    export = records.exports.get(export_id)
    if export.state != "REGISTERED":
        return records.view(export)
    for lease in export.leases:
        versions.lease(lease.audience, lease.version, export_id)
    request = request_of(export)
    order = order_of(versions, export, request)
    if is_topic(request):
        begin(records.exports, records.settings.kafka_bootstrap, export, request, order)
    else:
        _require_alone(records.exports, export)
        require_free(order, destination_of(request, s3=s3, settings=records.settings))
    groups = order.groups()
    if len(groups) > GROUPS_MAX:
        raise UserError(
            "TOO_MANY_GROUPS",
            f"the version would be read in {len(groups)} groups, more than {GROUPS_MAX}; request larger files",
            groups=len(groups),
        )
    records.exports.plan(export_id, [(order.bytes_of(group), group.expected_rows) for group in groups])
    cause = f"version {order.version.info.version} in {len(groups)} groups"
    _, export = records.exports.move(export_id, "WRITING", now_ms=now_ms(), cause=cause, only_from={"REGISTERED"})
    return records.view(export)


def _require_alone(exports: ExportStore, export: Export) -> None:
    """Refuse if an earlier export writes to the same place: it will finish first, so our writing would be wasted."""
    to = _address(export)
    for other in exports.live():
        if other.job_id < export.job_id and other.state not in {"AWAITING", "REGISTERED"} and _address(other) == to:
            raise UserError(
                "DESTINATION_BUSY",
                f"export {other.job_id} is writing to {to}; choose another destination, or retry if that export fails",
                destination=to,
                export=other.job_id,
            )


def _address(export: Export) -> str:
    return str(export.request.get("to", "")).rstrip("/")
