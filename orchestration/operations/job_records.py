"""Records of jobs, from rows of the catalog: without tokens and internals."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestration.catalog.records import Export, Job
from orchestration.platform.clock import iso
from orchestration.records import jobs as records
from schemas.ids import Attempt
from schemas.records import as_record

if TYPE_CHECKING:
    from orchestration.catalog.records import ExportTransition, Transition
    from orchestration.operations.follow import ExportView, JobView
    from orchestration.records.notifications import Notification

SHOWN_SOURCE = ("bucket", "key", "version_id", "etag", "size", "last_modified")


def any_record(job: Job | Export) -> records.Job:
    """A job of any kind."""
    return job_record(job) if isinstance(job, Job) else export_record(job)


def job_record(job: Job) -> records.ImportJob:
    """An import or a snapshot."""
    return records.ImportJob(**_of_job(job))


def export_record(export: Export) -> records.ExportJob:
    """An export."""
    return records.ExportJob(**_of_export(export))


def cancelled_import(job: Job, *, already: bool, warnings: Sequence[str]) -> records.CancelledImport:
    """An import or a snapshot that was cancelled."""
    return records.CancelledImport(**_of_job(job), already=already, warnings=warnings)


def cancelled_export(export: Export, *, already: bool, warnings: Sequence[str]) -> records.CancelledExport:
    """An export that was cancelled."""
    return records.CancelledExport(**_of_export(export), already=already, warnings=warnings)


def view_record(
    view: "JobView",
    history: "Sequence[Transition]",
    attempts: Mapping[Attempt, Mapping[str, Any] | None],
    notifications: "Sequence[Notification]" = (),
) -> records.ImportJobDetail:
    """An import or a snapshot with its stages and partitions, and what each of its attempts has sent."""
    return records.ImportJobDetail(
        **_of_job(view.job),
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
) -> records.ExportJobDetail:
    """An export with the groups of its files."""
    return records.ExportJobDetail(
        **_of_export(view.export),
        history=[{"state": t.state, "cause": t.cause, "at_ms": t.at_ms} for t in history],
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


def _of_job(job: Job) -> dict[str, Any]:
    return {
        "job": job.job_id,
        "tenant": job.tenant,
        "kind": job.shown_kind,
        "audience": job.audience,
        "state": job.state,
        "mode": job.mode,
        "attempt": job.attempt,
        "partitions": job.partitions,
        "source": {name: job.source.get(name) for name in SHOWN_SOURCE} if job.segment is None else dict(job.source),
        "spec": job.spec.as_record(),
        "evidence": _counts(job.evidence),
        "outcome": None if job.outcome is None else dict(job.outcome),
        "error": job.error,
        "failed_in": job.failed_in,
        "retry_of": job.retry_of,
        "execution": job.execution,
        "created_at": iso(job.created_at_ms),
        "finished_at": None if job.finished_at_ms is None else iso(job.finished_at_ms),
    }


def _of_export(export: Export) -> dict[str, Any]:
    return {
        "export": export.job_id,
        "tenant": export.tenant,
        "audience": export.audience,
        "state": export.state,
        "request": dict(export.request),
        "outcome": None if export.outcome is None else dict(export.outcome),
        "error": export.error,
        "failed_in": export.failed_in,
        "retry_of": export.retry_of,
        "created_at": iso(export.created_at_ms),
        "finished_at": None if export.finished_at_ms is None else iso(export.finished_at_ms),
    }


def _counts(evidence: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if evidence is None:
        return None
    return {name: evidence[name] for name in ("rows", "accepted", "rejected", "rejected_by_code")}
