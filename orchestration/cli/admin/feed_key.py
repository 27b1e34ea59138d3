"""`muster feeds key`: the service never shows the key."""

from pathlib import Path
from typing import Annotated

import typer

from orchestration.cli.admin.audit_trail import audited
from orchestration.cli.admin.contexts import catalog_context
from orchestration.cli.commands import Done, command, show_done
from orchestration.cli.feed_commands import Name, feeds
from orchestration.platform.deferred import deferred
from schemas.errors import UserError
from schemas.ids import DEFAULT_TENANT

with deferred(__name__):
    from connectors import private_files
    from orchestration.operations import feeds as operations


@command(feeds, "key", "muster feeds key crm --to crm.key", show=show_done, record=None, audit=audited)
def key(
    *,
    name: Name,
    to: Annotated[Path, typer.Option("--to", metavar="PATH", help="File to write; only you may read it.")],
    tenant: Annotated[
        str, typer.Option("--tenant", "-t", metavar="TENANT", help="Tenant of the feed.")
    ] = DEFAULT_TENANT,
) -> Done:
    """Write the key that signs requests of a feed to a file.

    The receiver checks signatures with it (Standard Webhooks); it is never printed.
    """
    context = catalog_context()
    signing_key = operations.shown_key(context.settings, context.feeds, tenant, name)
    try:
        private_files.replace_private(to, signing_key.reveal())
    except OSError as exc:
        raise UserError("NOT_WRITABLE", f"{to} cannot be written: {exc.strerror}", path=str(to)) from exc
    return Done(text=f"the key is in {to}")
