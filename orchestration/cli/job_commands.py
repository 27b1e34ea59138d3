"""`muster jobs`: imports, snapshots of segments and exports."""

from collections.abc import Sequence
from typing import Annotated, cast

import typer

from muster.records import Record
from orchestration.cli import options, remote
from orchestration.cli.commands import Answer, Group, command
from orchestration.cli.console import print_line, print_note, print_table
from orchestration.cli.following import Followed, Submitted, show_end, show_started, submitted, wait_for
from orchestration.cli.formatting import number, safe
from orchestration.cli.job_views import Shown, show_job, show_list
from orchestration.platform.deferred import deferred
from schemas.ids import JobId
from schemas.job_kinds import JOB_KINDS, JobKind, id_of, key_of

with deferred(__name__):
    from muster import following

TOP = Group("")
jobs = Group("jobs", "muster jobs list", "muster jobs show JOB")
TOP.add_typer(jobs)
*_FIRST, _LAST = JOB_KINDS


@command(
    jobs,
    "list",
    "muster jobs list --state FAILED",
    "muster jobs list --kind export --limit 5 --json",
    show=show_list,
)
def list_(
    *,
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", metavar="KIND", help=f"Limit to {', '.join(_FIRST)} or {_LAST} (repeatable)."),
    ] = None,
    tenant: options.OnlyTenant = None,
    audience: options.OnlyAudience = None,
    state: options.OnlyStates = None,
    limit: options.NewestLimit = 20,
) -> Sequence[Record]:
    """List jobs, newest first."""
    if unknown := [one for one in kind or () if one not in JOB_KINDS]:
        raise typer.BadParameter(f"{unknown[0]} is not one of {', '.join(sorted(JOB_KINDS))}", param_hint="--kind")
    kinds = cast("list[JobKind] | None", kind)
    with remote.service() as found:
        if tenant is None:
            return list(found.all_jobs(kind=kinds, audience=audience, state=state, limit=limit))
        return list(found.jobs(tenant, kind=kinds, audience=audience, state=state, limit=limit))


@command(jobs, "show", "muster jobs show JOB", "muster jobs show JOB --json", show=show_job)
def show(*, job: options.MeantJob = None, latest: options.Latest = False) -> Shown:
    """Show a job: its history, progress and error."""
    with remote.service() as found:
        meant = remote.meant_job(found, job, latest=latest)
        return Shown(requested=meant, job=found.find_job(meant))


def show_files(found: Sequence[Record]) -> None:
    """Print the files of an import, one per line."""
    if not found:
        print_note("No file has been verified.")
        return
    print_table(
        ("NUMBER", "BYTES", "ROWS", "REJECTED", "FILE"),
        [
            (str(one["number"]), *(_number(one[n]) for n in ("bytes", "rows", "rejected")), safe(one["file"]))
            for one in found
        ],
        right=("NUMBER", "BYTES", "ROWS", "REJECTED"),
    )


def _number(value: int | None) -> str:
    return "" if value is None else number(value)


@command(jobs, "files", "muster jobs files JOB", "muster jobs files JOB --json", show=show_files)
def files(
    *, job: options.MeantJob = None, latest: options.Latest = False, limit: options.NewestLimit = 10_000
) -> Sequence[Record]:
    """Show the files that an import reads, with their rows, in the order in which these apply."""
    with remote.service() as found:
        meant = found.find_job(remote.meant_job(found, job, latest=latest))
        return list(found.job_files(meant["tenant"], id_of(meant), limit=limit))


@command(jobs, "wait", "muster jobs wait JOB", "muster jobs wait JOB --timeout 600 --json", show=show_end)
def wait(
    *, job: options.MeantJob = None, latest: options.Latest = False, timeout: options.Timeout = None
) -> Answer[Followed]:
    """Follow a job until it ends.

    The exit code reports its outcome.
    """
    with remote.service() as found:
        meant = remote.meant_job(found, job, latest=latest)
    return wait_for(meant, timeout_s=timeout)


def show_cancelled(job: Record) -> None:
    """Print that a job is cancelled."""
    print_line(f"{key_of(job)} {id_of(job)} {'was already cancelled' if job['already'] else 'is CANCELLED'}")


@command(jobs, "cancel", "muster jobs cancel JOB", show=show_cancelled)
def cancel(*, job: options.MeantJob = None, latest: options.Latest = False) -> Answer[Record]:
    """Cancel a job, so that it publishes nothing.

    A job can be cancelled until its version is being published, an export until its manifest is being written; the
    files of the export are removed. Waits for the registration of a job that was just submitted.
    """
    with remote.service() as found:
        registered = next(following.follow(found, remote.meant_job(found, job, latest=latest)))
        done = found.cancel(registered["tenant"], id_of(registered))
    return Answer(value=done, notes=done["warnings"])


@command(
    jobs,
    "retry",
    "muster jobs retry JOB --wait",
    "muster jobs retry JOB --with-audience-settings --wait",
    show=show_started,
)
def retry(
    *,
    job: options.MeantJob = None,
    latest: options.Latest = False,
    with_audience_settings: Annotated[
        bool, typer.Option("--with-audience-settings", help="Use the current settings of the audience.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Retry even if the file was at fault; it will fail again.")
    ] = False,
    allow_shrink: Annotated[
        bool, typer.Option("--allow-shrink", help="Publish this run regardless of how many members are removed.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Follow the new job.")] = False,
    timeout: options.Timeout = None,
) -> Answer[Submitted | Followed]:
    """Run a FAILED or CANCELLED job again.

    Starts a new job for the same file, with the same options or the current settings of its audience; for an export,
    with the same version and destination, and for a segment that has none yet, with another snapshot.
    """
    with remote.service() as found:
        meant = remote.meant_job(found, job, latest=latest)
        failed = found.find_job(meant)
        word = key_of(failed)
        if word == "export" and (with_audience_settings or force):
            raise typer.BadParameter("an export reads no file: --with-audience-settings and --force do not apply")
        new = found.retry(
            failed["tenant"],
            id_of(failed),
            with_audience_settings=with_audience_settings,
            force=force,
            allow_shrink=allow_shrink or None,  # unknown to a service of 0.2.0
        )
    return submitted(JobId(id_of(new)), wait=wait, timeout_s=timeout, word=word, retry_of=meant)
