"""What the state machine is told about an export: all that its choices look at."""

from typing import Final

from orchestration.catalog.records import Export, ExportGroup
from orchestration.context import Context
from orchestration.kinds.timeouts import group_timeout_s
from orchestration.kinds.view import NOT_MINE, View
from orchestration.kinds.where import place_of
from schemas.ids import JobId
from schemas.log_ids import bind
from segmentation.export_jobs import ExportState

GROUPS_MAX: Final = 2_000
"""So many fit into the 256 KiB that a state of Step Functions may be given."""


def export_view(context: Context, export: Export, *, state: ExportState | str | None = None) -> View:
    """The export as the state machine sees it; while it is WRITING, with the groups that are still to be written."""
    shown = state or export.state
    waiting = [g for g in context.exports.groups(export.job_id) if g.record is None] if shown == "WRITING" else []
    return {
        "export_id": export.job_id,
        "state": shown,
        "groups": [_item(context, group) for group in waiting],
        "user_error": export.error is not None and export.error.kind == "user",
    }


def not_my_export(context: Context, export_id: JobId, execution: str) -> View | None:
    """The view that ends an execution which the export does not belong to; none for the one that owns it."""
    export = context.exports.get(export_id)
    bind(job=export_id, tenant=export.tenant, audience=export.audience)
    return None if export.execution == execution else export_view(context, export, state=NOT_MINE)


def _item(context: Context, group: ExportGroup) -> dict[str, object]:
    place = place_of(context.settings, group.bytes)
    return {
        "number": str(group.number),  # an argument of a container is a text
        "place": place,
        "timeout_s": group_timeout_s(group.bytes, place),
    }
