"""The two ways in which an export ends badly: what was asked for is at fault, or we are."""

from orchestration.catalog.records import JobError
from orchestration.context import Context
from orchestration.kinds.export.view import export_view
from orchestration.kinds.view import View
from orchestration.platform.clock import now_ms
from schemas.ids import JobId


def mark_export_failed(context: Context, export_id: JobId, error: JobError) -> View:
    """End the export in FAILED, unless it has ended otherwise or may have its manifest."""
    _, export = context.exports.fail(export_id, error, now_ms=now_ms())
    return export_view(context, export)
