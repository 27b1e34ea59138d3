"""`muster jobs`: imports, snapshots of segments and exports."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, cast

import typer

from orchestration.catalog.records import Export
from orchestration.cli import options
from orchestration.cli.commands import Answer, Group, command
from orchestration.cli.console import print_line, print_note, print_table
from orchestration.cli.following import Followed, Submitted, show_end, show_started, submitted, wait_for
from orchestration.cli.formatting import age
from orchestration.cli.job_views import ShownExport, ShownJob, result_of, show_job, shown
from orchestration.cli.session import catalog_context, stack_context
from orchestration.operations.job_records import any_record
from orchestration.operations.job_search import KINDS, AnyJob, JobKind, kind_of
from orchestration.platform.clock import now_ms
from orchestration.platform.deferred import deferred
from schemas.ids import job_id

with deferred(__name__):
    from orchestration.catalog import job_rows
    from orchestration.operations import wiring

TOP = Group("")
jobs = Group("jobs", "muster jobs list", "muster jobs show JOB")
TOP.add_typer(jobs)


def records(found: Sequence[AnyJob]) -> list[dict[str, Any]]:
    """Jobs as plain JSON data."""
    return [any_record(job) for job in found]


def show_list(found: Sequence[AnyJob]) -> None:
    """Print jobs, one per line."""
    if not found:
        print_note("No matching jobs.")
        return
    now = now_ms()
    exports = any(isinstance(job, Export) for job in found)
    print_table(
        ("JOB", "AGE", "KIND", "STATE", "AUDIENCE", "RESULT", *(["TO"] if exports else [])),
        [(*_cells(job, now), *([_destination(job)] if exports else [])) for job in found],
        right=("AGE",),
    )


def _cells(job: AnyJob, now: int) -> tuple[str, ...]:
    audience = f"{job.tenant}/{job.audience}"
    return job.job_id, age(job.created_at_ms, now), kind_of(job), job.state, audience, result_of(job)


def _destination(job: AnyJob) -> str:
    return str(job.request.get("to", "")) if isinstance(job, Export) else ""


@command(
    jobs,
    "list",
    "muster jobs list --state FAILED",
    "muster jobs list --kind export --limit 5 --json",
    effect="reads",
    show=show_list,
    record=records,
)
def list_(
    *,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind", metavar="KIND", help="Limit to audience, events, profiles, snapshot or export (repeatable)."
        ),
    ] = None,
    tenant: options.OnlyTenant = None,
    audience: options.OnlyAudience = None,
    state: options.OnlyStates = None,
    limit: options.NewestLimit = 20,
) -> Sequence[AnyJob]:
    """List jobs, newest first."""
    if unknown := [one for one in kind or () if one not in KINDS]:
        raise typer.BadParameter(f"{unknown[0]} is not one of {', '.join(sorted(KINDS))}", param_hint="--kind")
    return wiring.all_jobs(catalog_context()).search(
        kinds=[cast("JobKind", one) for one in kind or KINDS],
        tenant=tenant,
        audience=audience,
        states=state or (),
        limit=limit,
    )


@command(jobs, "show", "muster jobs show JOB", "muster jobs show JOB --json", effect="reads", show=show_job)
def show(*, job: options.JobArgument) -> ShownJob | ShownExport:
    """Show a job: its history, progress and error."""
    context, wanted = catalog_context(), job_id(job)
    if (view := wiring.job_progress(context).any_view(wanted, now_ms())) is None:
        raise job_rows.unknown_job(wanted)
    return shown(context, wanted, view)


@command(
    jobs, "wait", "muster jobs wait JOB", "muster jobs wait JOB --timeout 600 --json", effect="reads", show=show_end
)
def wait(*, job: options.JobArgument, timeout: options.Timeout = None) -> Answer[Followed]:
    """Follow a job until it ends.

    The exit code reports its outcome.
    """
    context, wanted = catalog_context(), job_id(job)
    wiring.job_progress(context).require_job(wanted, now_ms())
    return wait_for(context, wanted, timeout_s=timeout)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """A cancelled job; `already`: it was cancelled before."""

    job: AnyJob
    already: bool
    warnings: Sequence[str]

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {**any_record(self.job), "already": self.already, "warnings": self.warnings}


def show_cancelled(done: Cancelled) -> None:
    """Print that a job is cancelled."""
    word = "export" if isinstance(done.job, Export) else "job"
    print_line(f"{word} {done.job.job_id} {'was already cancelled' if done.already else 'is CANCELLED'}")


@command(jobs, "cancel", "muster jobs cancel JOB", effect="changes", show=show_cancelled)
def cancel(*, job: options.JobArgument) -> Answer[Cancelled]:
    """Cancel a job, so that it publishes nothing.

    A job can be cancelled until its version is being published, an export until its manifest is being written; the
    files of the export are removed. Waits for the registration of a job that was just submitted.
    """
    context, wanted = catalog_context(), job_id(job)
    found = wiring.job_progress(context).await_registration(wanted, now_ms=now_ms, sleep=time.sleep)
    if isinstance(found, Export):
        cancelled_export = wiring.export_jobs(context).cancel(wanted)
        done = Cancelled(
            job=cancelled_export.export, already=cancelled_export.already, warnings=cancelled_export.warnings
        )
    else:
        cancelled_import = wiring.import_jobs(context).cancel(wanted)
        done = Cancelled(job=cancelled_import.job, already=cancelled_import.already, warnings=cancelled_import.warnings)
    return Answer(value=done, notes=done.warnings)


@command(
    jobs,
    "retry",
    "muster jobs retry JOB --wait",
    "muster jobs retry JOB --with-audience-settings --wait",
    effect="changes",
    show=show_started,
)
def retry(
    *,
    job: options.JobArgument,
    with_audience_settings: Annotated[
        bool, typer.Option("--with-audience-settings", help="Use the current settings of the audience.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Retry even if the file was at fault; it will fail again.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Follow the new job.")] = False,
    timeout: options.Timeout = None,
) -> Answer[Submitted | Followed]:
    """Run a FAILED or CANCELLED job again.

    Starts a new job for the same file, with the same options or the current settings of its audience; for an export,
    with the same version and destination.
    """
    context, wanted = stack_context(), job_id(job)
    found = wiring.all_jobs(context).get(wanted)
    if isinstance(found, Export):
        if with_audience_settings or force:
            raise typer.BadParameter("an export reads no file: --with-audience-settings and --force do not apply")
        new = wiring.export_jobs(context).retry(wanted)
        return submitted(context, new, wait=wait, timeout_s=timeout, word="export", retry_of=job)
    new = wiring.submission(context).resubmit(found, force=force, with_audience_settings=with_audience_settings)
    return submitted(context, new, wait=wait, timeout_s=timeout, retry_of=job)
