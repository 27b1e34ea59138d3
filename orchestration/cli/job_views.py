"""Output of `muster jobs show` for jobs of either family: imports and snapshots, exports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestration.cli.console import print_line, print_note, print_pairs, print_table
from orchestration.cli.following import settings_remedy
from orchestration.cli.formatting import clock_time, number, size
from orchestration.cli.notification_commands import print_notifications
from orchestration.cli.rendering import done_word, partition_lines, places_line, stage_line, waiting_text
from orchestration.operations.follow import ExportView, JobView
from orchestration.operations.job_records import export_view_record, view_record
from orchestration.platform.deferred import deferred
from schemas.ids import Attempt, JobId

if TYPE_CHECKING:
    from orchestration.catalog.records import Export, ExportTransition, Job, Transition
    from orchestration.context import Context
    from orchestration.notifications.outbox import Notification

with deferred(__name__):
    from orchestration.operations import notifying


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownJob:
    """An import or a snapshot with its history and what its attempts have sent. `requested`: the id that was given."""

    requested: JobId
    view: JobView
    history: "list[Transition]"
    attempts: Mapping[Attempt, Mapping[str, Any] | None]
    notifications: "Sequence[Notification]"

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            **view_record(self.view, self.history, self.attempts),
            "notifications": [notifying.notification_record(row) for row in self.notifications],
            "duplicate_of": self.view.duplicate_of,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownExport:
    """An export with its history."""

    view: ExportView
    history: "list[ExportTransition]"
    notifications: "Sequence[Notification]"

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        notifications = [notifying.notification_record(row) for row in self.notifications]
        return {**export_view_record(self.view, self.history), "notifications": notifications}


def shown(context: "Context", requested: JobId, view: JobView | ExportView) -> ShownJob | ShownExport:
    """Everything to show of a job."""
    if isinstance(view, ExportView):
        job_id = view.export.job_id
        return ShownExport(
            view=view, history=context.exports.history(job_id), notifications=context.outbox.by_subject(job_id)
        )
    job_id = view.job.job_id
    return ShownJob(
        requested=requested,
        view=view,
        history=context.jobs.history(job_id),
        attempts=context.jobs.attempt_reports(job_id),
        notifications=context.outbox.by_subject(job_id),
    )


def show_job(found: ShownJob | ShownExport) -> None:
    """Print everything known about a job."""
    if isinstance(found, ShownJob):
        _show_import(found)
    else:
        _show_export(found)
    print_notifications(found.notifications)


def _show_import(found: ShownJob) -> None:
    view, job = found.view, found.view.job
    if view.duplicate_of is not None:
        print_note(f"Job {found.requested} is a duplicate of {job.job_id}, which is shown here.")
    pairs: list[tuple[str, object]] = [
        ("job", job.job_id),
        ("audience", f"{job.tenant}/{job.audience}") if job.kind == "audience" else (job.kind, f"of {job.tenant}"),
        ("state", _state(view)),
        ("mode", job.mode),
        ("source", job.origin),
        ("rows", _rows(job)),
        ("result", result_of(job) or "-"),
    ]
    if ran := places_line(view.stages):
        pairs.append(("ran", ran))
    if job.error is not None:
        pairs.append(("error", f"{job.error.code}: {job.error.message}"))
    if (remedy := settings_remedy(job)) is not None:
        pairs.append(("settings", remedy))
    if job.retry_of is not None:
        pairs.append(("retry of", job.retry_of))
    print_pairs(pairs)
    print_line("")
    print_table(
        ("AT (UTC)", "STATE", "ATTEMPT", "CAUSE"),
        [(clock_time(t.at_ms), t.state, t.attempt or "", t.cause or "") for t in found.history],
        right=("ATTEMPT",),
    )
    print_line("")
    for line in [*map(stage_line, view.stages), *partition_lines(view.partitions, done_word(view))]:
        print_line(line)


def _show_export(found: ShownExport) -> None:
    export, groups = found.view.export, found.view.groups
    pairs: list[tuple[str, object]] = [
        ("export", export.job_id),
        ("audience", f"{export.tenant}/{export.audience}"),
        ("state", export.state),
        ("to", export.request.get("to", "")),
        ("result", result_of(export) or "-"),
    ]
    if export.outcome is not None and export.outcome["manifest"]:
        pairs.append(("manifest", export.outcome["manifest"]))
    if export.error is not None:
        pairs.append(("error", f"{export.error.code}: {export.error.message}"))
    if export.retry_of is not None:
        pairs.append(("retry of", export.retry_of))
    print_pairs(pairs)
    print_line("")
    print_table(("AT (UTC)", "STATE", "CAUSE"), [(clock_time(t.at_ms), t.state, t.cause or "") for t in found.history])
    if groups:
        print_line("")
        print_table(
            ("GROUP", "ATTEMPT", "ROWS", "OF", "STATE"),
            [
                (
                    g.number,
                    g.attempt or "",
                    number(g.rows),
                    number(g.expected_rows),
                    "written" if g.record is not None else g.error.code if g.error is not None else "",
                )
                for g in groups
            ],
            right=("GROUP", "ATTEMPT", "ROWS", "OF"),
        )


def result_of(job: "Job | Export") -> str:
    """The result of a job in a few words; empty while it runs."""
    outcome = job.outcome
    if job.error is not None:
        return job.error.code
    if outcome is None:
        return ""
    if job.state == "SUPERSEDED":
        return f"by v{outcome['version']}"
    if "rows" in outcome:
        return f"v{outcome['version']}, {number(outcome['rows'])} rows, {size(outcome['bytes'])}"
    if "stored" in outcome:
        return f"{number(outcome['stored'])} stored, {number(outcome['duplicates'])} duplicates"
    return f"v{outcome['version']}, {number(outcome['members'])} members"


def _state(view: JobView) -> str:
    text = view.job.state if view.job.attempt < 2 else f"{view.job.state}, attempt {view.job.attempt}"
    return f"{text}, {warning}" if (warning := waiting_text(view.no_worker_s)) else text


def _rows(job: "Job") -> str:
    if (counts := job.evidence) is None:
        return "-"
    return f"{number(counts['rows'])} = {number(counts['accepted'])} accepted + {number(counts['rejected'])} rejected"
