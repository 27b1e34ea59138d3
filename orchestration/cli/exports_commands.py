"""`muster exports`: the old names of `muster jobs` for exports, hidden and kept for one release."""

from collections.abc import Sequence
from typing import Annotated

import typer

from orchestration.cli import job_commands, options, remote
from orchestration.cli.commands import Group, Result, command
from orchestration.cli.following import Followed, Submitted, show_end, show_started
from orchestration.cli.job_commands import show_cancelled
from orchestration.cli.job_facts import word_of
from orchestration.cli.job_views import Shown, show_job, show_list
from orchestration.client.records import Record
from orchestration.platform.deferred import deferred
from schemas.errors import UserError

with deferred(__name__):
    from orchestration.client import errors, following

TOP = Group("")
exports = Group("exports", "muster jobs list --kind export", "muster jobs show JOB")
TOP.add_typer(exports, hidden=True)
ExportArgument = Annotated[str, typer.Argument(metavar="EXPORT", help="Export id, as `muster jobs list` shows it.")]


def _export_id(text: str) -> str:
    """The id of an export, waiting for one that was just submitted. Raises `UserError` UNKNOWN_EXPORT."""
    with remote.service() as service:
        try:
            text = remote.meant_job(service, text)
            found = next(following.follow(service, text))
        except errors.ApiError as exc:
            if exc.code != "UNKNOWN_JOB":
                raise
            found = {}
    if word_of(found) != "export":
        raise UserError("UNKNOWN_EXPORT", f"there is no export {text}; `muster jobs list` shows all jobs", export=text)
    return text


@command(exports, "list", "muster jobs list --kind export", effect="reads", show=show_list)
def list_(
    *,
    tenant: options.OnlyTenant = None,
    audience: options.OnlyAudience = None,
    state: options.OnlyStates = None,
    limit: options.NewestLimit = 20,
) -> Result[Sequence[Record]]:
    """List exports: now `muster jobs list --kind export`."""
    return job_commands.list_(kind=["export"], tenant=tenant, audience=audience, state=state, limit=limit)


@command(exports, "show", "muster jobs show JOB", effect="reads", show=show_job)
def show(*, job: ExportArgument) -> Result[Shown]:
    """Show an export: now `muster jobs show`."""
    return job_commands.show(job=_export_id(job))


@command(exports, "wait", "muster jobs wait JOB", effect="reads", show=show_end)
def wait(*, job: ExportArgument, timeout: options.Timeout = None) -> Result[Followed]:
    """Follow an export until it ends: now `muster jobs wait`."""
    return job_commands.wait(job=_export_id(job), timeout=timeout)


@command(exports, "cancel", "muster jobs cancel JOB", effect="remote", show=show_cancelled)
def cancel(*, job: ExportArgument) -> Result[Record]:
    """Cancel an export: now `muster jobs cancel`."""
    return job_commands.cancel(job=_export_id(job))


@command(exports, "retry", "muster jobs retry JOB --wait", effect="remote", show=show_started)
def retry(
    *,
    job: ExportArgument,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Follow the new export.")] = False,
    timeout: options.Timeout = None,
) -> Result[Submitted | Followed]:
    """Run a FAILED or CANCELLED export again: now `muster jobs retry`."""
    return job_commands.retry(job=_export_id(job), wait=wait, timeout=timeout)
