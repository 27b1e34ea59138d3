"""Jobs with their progress, as the service answers them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestration.platform.clock import iso
from orchestration.records.fields import extended
from orchestration.records.jobs import ExportJobDetail, ImportJobDetail
from schemas.ids import Attempt
from schemas.records import as_record

if TYPE_CHECKING:
    from orchestration.catalog.records import ExportTransition, Transition
    from orchestration.operations.follow import ExportView, JobView
    from orchestration.records.notifications import Notification


def view_record(
    view: "JobView",
    history: "Sequence[Transition]",
    attempts: Mapping[Attempt, Mapping[str, Any] | None],
    notifications: "Sequence[Notification]" = (),
) -> ImportJobDetail:
    """An import or a snapshot with its stages and partitions, and what each of its attempts has sent."""
    return extended(
        ImportJobDetail,
        view.job.shown,
        queue_position=view.queue_position,
        no_worker_s=view.no_worker_s,
        history=[
            {"sequence": t.sequence, "state": t.state, "attempt": t.attempt, "cause": t.cause, "at": iso(t.at_ms)}
            for t in history
        ],
        attempts=[{"attempt": number, "sent": sent} for number, sent in attempts.items()],
        stages=[as_record(s) for s in view.stages],
        partition_progress=[as_record(p) for p in view.partitions],
        notifications=notifications,
        duplicate_of=view.duplicate_of,
    )


def export_view_record(
    view: "ExportView", history: "Sequence[ExportTransition]", notifications: "Sequence[Notification]" = ()
) -> ExportJobDetail:
    """An export with the groups of its files."""
    return extended(
        ExportJobDetail,
        view.export.shown,
        history=[as_record(t) for t in history],
        groups=[
            {
                "number": g.number,
                "attempt": g.attempt,
                "rows": g.rows,
                "expected_rows": g.expected_rows,
                "written": g.record is not None,
                "error": None if g.error is None else as_record(g.error),
            }
            for g in view.groups
        ],
        notifications=notifications,
    )
