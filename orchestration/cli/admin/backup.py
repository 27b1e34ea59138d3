"""`muster backup` and `muster restore`."""

from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli.admin.audit_trail import audited
from orchestration.cli.admin.contexts import lake_context
from orchestration.cli.commands import Done, Group, command, show_done
from orchestration.cli.console import print_line, print_note
from orchestration.cli.formatting import number, size
from orchestration.cli.session import SESSION
from orchestration.platform.deferred import deferred
from schemas.records import as_record

if TYPE_CHECKING:
    from orchestration.operations.backup import BackupReport

with deferred(__name__):
    from orchestration.access import owner
    from orchestration.composition import administration, service

TOP = Group("")
Location = Annotated[str, typer.Argument(metavar="LOCATION", help="A directory, or s3://bucket/prefix.")]


@command(
    TOP,
    "backup",
    "muster backup /backups/monday",
    "muster backup s3://backups/monday",
    show=show_done,
    audit=audited,
)
def backup(*, place: Location) -> Done:
    """Back up catalog and lake to an empty directory or prefix.

    Imports may run meanwhile.
    """
    report = administration.backups(lake_context()).backup(place)
    return Done(
        record={"files": report.files, "bytes": report.bytes, "place": place},
        text=f"{number(report.files)} files, {size(report.bytes)}, and the catalog are in {place}",
    )


def _show_restored(done: "BackupReport") -> None:
    print_line(f"{number(done.files)} files, {size(done.bytes)}, and the catalog were restored")
    if done.failed_jobs:
        print_note(f"Running during the backup, now FAILED; submit them again: {', '.join(done.failed_jobs)}")
    if done.paused_feeds:
        print_note(
            f"Paused, since the deployment that was backed up may still deliver them: {', '.join(done.paused_feeds)}. "
            "`muster feeds resume` lets one begin again, with all members"
        )


@command(
    TOP,
    "restore",
    "muster restore /backups/monday",
    show=_show_restored,
    record=as_record,
    audit=audited,
)
def restore(*, place: Location) -> "BackupReport":
    """Load a backup into an empty deployment.

    Every file is compared with the manifest first. The tokens are those of the backup; the owner of this home gets
    another one.
    """
    context = lake_context()
    report = administration.backups(context).restore(place)
    if context.settings.engine_url:  # not at AWS, where the service keeps no token in a file
        access = service.Services(context.settings)
        SESSION.resources.callback(access.close)
        owner.ensure_owner_token(access, context.settings.home)
    return report
