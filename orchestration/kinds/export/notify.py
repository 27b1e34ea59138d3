"""Notify: tell people and programs how an export ended, as `kinds.notify` does for imports."""

from typing import cast

from orchestration.context import Context
from orchestration.kinds.export.view import export_view
from orchestration.kinds.view import View
from orchestration.notifications.outbox import Outcome
from orchestration.platform.clock import now_ms
from schemas.ids import JobId


def notify_export(context: Context, export_id: JobId, outcome: str) -> View:
    """Tell the outcome: `ready` and `user-error` to the customer, `system-error` to the operators."""
    export = context.exports.get(export_id)
    rows = context.notices.of_export(export, cast(Outcome, outcome), now_ms())
    context.notices.courier().deliver_at_once(rows)
    return export_view(context, export)
