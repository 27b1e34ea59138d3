"""`muster notifications key`: the service never shows the key."""

from pathlib import Path
from typing import Annotated

import typer

from orchestration.cli.admin.audit_trail import audited
from orchestration.cli.commands import Done, command, show_done
from orchestration.cli.notification_commands import notifications
from orchestration.cli.session import settings
from orchestration.platform.deferred import deferred
from schemas.errors import UserError

with deferred(__name__):
    from connectors import private_files
    from orchestration.operations import notifying


@command(
    notifications,
    "key",
    "muster notifications key --tenant acme --to acme.key",
    show=show_done,
    record=None,
    audit=audited,
)
def key(
    *,
    to: Annotated[Path, typer.Option("--to", metavar="PATH", help="File to write; only you may read it.")],
    tenant: Annotated[
        str | None, typer.Option("--tenant", "-t", metavar="TENANT", help="Tenant whose receivers use the key.")
    ] = None,
) -> Done:
    """Write the key for webhook signatures to a file.

    Receivers check signatures with it; it is never printed. Without --tenant, it is the key for operators' receivers.
    """
    signing_key = notifying.webhook_key(settings(), tenant)
    try:
        private_files.replace_private(to, signing_key.reveal())
    except OSError as exc:
        raise UserError("NOT_WRITABLE", f"{to} cannot be written: {exc.strerror}", path=str(to)) from exc
    return Done(text=f"the key is in {to}")
