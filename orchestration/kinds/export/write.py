"""WriteExportGroup: the files of one group. Groups run in parallel, and each can be repeated on its own."""

import logging

from connectors.sinks.exporting import GroupWritten, write_group
from connectors.sinks.topic_export import GroupSent
from connectors.storage.access import S3Access
from connectors.storage.duck import DuckLimits
from orchestration.catalog.exports import ExportStore
from orchestration.catalog.records import Export, JobError
from orchestration.kinds.export.destinations import destination_of, order_of, request_of
from orchestration.kinds.export.heartbeat import GroupHeartbeat, WritingStopped
from orchestration.kinds.export.topics import is_topic, send
from orchestration.kinds.records import ExportRecords
from orchestration.platform.clock import now_ms
from schemas.errors import FatalError, RetriableError, UserError
from schemas.ids import JobId
from schemas.log_ids import bind
from schemas.records import as_record
from segmentation.versions import VersionStore

_log = logging.getLogger(__name__)


def write_export_group(
    export_id: JobId,
    number: int,
    execution: str,
    *,
    records: ExportRecords,
    versions: VersionStore,
    s3: S3Access,
    limits: DuckLimits,
) -> None:
    """Write a group that has not been written, while the export is WRITING in this execution.

    Errors that a retry would not change (`UserError`, `FatalError`) are stored with the group, for FinishExport to
    raise: the other groups need not be interrupted. Raises `RetriableError`.
    """
    exports, settings = records.exports, records.settings
    export = exports.get(export_id)
    bind(**export.log_ids)
    if export.state != "WRITING" or export.execution != execution:
        return
    groups = exports.groups(export_id)
    if groups[number].record is not None or any(group.error for group in groups):
        return
    attempt = exports.begin_group(export_id, number, now_ms=now_ms())
    _log.info("group %d of export %s, attempt %d", number, export_id, attempt)
    try:
        request = request_of(export)
        order = order_of(versions, export, request)
        with GroupHeartbeat(exports, export_id, number, execution) as heartbeat:
            group = order.groups()[number]
            written: GroupSent | GroupWritten
            if is_topic(request):
                written = send(
                    settings.kafka_bootstrap,
                    export,
                    request,
                    order,
                    group,
                    s3=s3,
                    limits=limits,
                    on_rows=heartbeat.rows,
                )
            else:
                written = write_group(
                    order,
                    group,
                    destination_of(request, s3=s3, settings=settings),
                    s3=s3,
                    limits=limits,
                    on_rows=heartbeat.rows,
                )
    except WritingStopped:
        _log.info("group %d of export %s is no longer needed", number, export_id)
    except (UserError, FatalError) as exc:
        cause = _deletion(versions, export) or exc
        _log.error("group %d of export %s: %s", number, export_id, cause)
        fail_export_group(exports, export_id, number, JobError.of(cause), execution)
    else:
        exports.set_group(export_id, number, record=as_record(written), rows=written.rows, error=None)


def fail_export_group(exports: ExportStore, export_id: JobId, number: int, error: JobError, execution: str) -> None:
    """Store why a group was given up, unless it was written after all, or the export continues in another execution."""
    group = exports.groups(export_id)[number]
    if group.record is None and group.error is None and exports.get(export_id).execution == execution:
        exports.set_group(export_id, number, error=as_record(error))


def _deletion(versions: VersionStore, export: Export) -> UserError | None:
    """The error that an audience was deleted meanwhile: it explains whatever the writer ran into."""
    try:
        for lease in export.leases:
            versions.leased(lease.audience, lease.version, export.job_id)
    except UserError as exc:
        return exc
    except (RetriableError, FatalError):  # says less than the original error
        return None
    return None
