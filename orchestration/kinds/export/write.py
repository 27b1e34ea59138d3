"""WriteExportGroup: the files of one group. Groups run side by side, and each may be repeated by itself."""

import logging

from connectors.sinks.exporting import GroupWritten, write_group
from connectors.sinks.topic_export import GroupSent
from orchestration.catalog.records import Export, JobError
from orchestration.context import Context
from orchestration.kinds.export.heart import Heart, WritingStopped
from orchestration.kinds.export.places import order_of, place_of, request_of
from orchestration.kinds.export.topics import is_topic, send
from orchestration.platform.clock import now_ms
from schemas.errors import FatalError, RetriableError, UserError
from schemas.ids import JobId

_log = logging.getLogger(__name__)


def write_export_group(context: Context, export_id: JobId, number: int, execution: str) -> None:
    """Write a group that has not been written, while the export is WRITING in this execution.

    What a repeat would not change (`UserError`, `FatalError`) is kept with the group, for FinishExport to raise: the
    other groups need not be interrupted. Raises `RetriableError`.
    """
    export = context.exports.get(export_id)
    if export.state != "WRITING" or export.execution != execution:
        return
    groups = context.exports.groups(export_id)
    if groups[number].record is not None or any(group.error for group in groups):
        return
    attempt = context.exports.begin_group(export_id, number, now_ms=now_ms())
    _log.info("group %d of export %s, attempt %d", number, export_id, attempt)
    try:
        request = request_of(export)
        order = order_of(context, export, request)
        with Heart(context, export_id, number, execution) as heart:
            group = order.groups()[number]
            written: GroupSent | GroupWritten
            if is_topic(request):
                written = send(context, export, request, order, group, heart.rows)
            else:
                written = write_group(
                    order,
                    group,
                    place_of(context, request),
                    s3=context.s3,
                    limits=context.duck_limits,
                    on_rows=heart.rows,
                )
    except WritingStopped:
        _log.info("group %d of export %s is not wanted any more", number, export_id)
    except (UserError, FatalError) as exc:
        cause = _deletion(context, export) or exc
        _log.error("group %d of export %s: %s", number, export_id, cause)
        fail_export_group(context, export_id, number, JobError.of(cause), execution)
    else:
        context.exports.set_group(export_id, number, record=written.as_record(), rows=written.rows, error=None)


def fail_export_group(context: Context, export_id: JobId, number: int, error: JobError, execution: str) -> None:
    """Keep why a group was given up, unless it was written after all, or the export goes on in another execution."""
    group = context.exports.groups(export_id)[number]
    if group.record is None and group.error is None and context.exports.get(export_id).execution == execution:
        context.exports.set_group(export_id, number, error=error.as_record())


def _deletion(context: Context, export: Export) -> UserError | None:
    """That an audience has been deleted meanwhile: whatever a writer ran into then, it was this."""
    try:
        for held in export.held:
            context.versions.held(held.audience, held.version, export.job_id)
    except UserError as exc:
        return exc
    except (RetriableError, FatalError):  # it says less than what went wrong before
        return None
    return None
