"""`muster tenants`."""

from typing import Annotated

import typer

from orchestration.cli import options
from orchestration.cli.console import print_json, print_line, print_pairs, print_table, say
from orchestration.cli.notification_commands import Emails, Nobody, Webhooks
from orchestration.cli.options import command, group
from orchestration.cli.session import SESSION, catalog_context

tenants = group("tenants", "Tenants: create, configure, list.", "muster tenants create acme", "muster tenants list")


def add_to(app: typer.Typer) -> None:
    """Register the group."""
    app.add_typer(tenants)


@command(tenants, "create", "muster tenants create acme")
def create_tenant(*, name: Annotated[str, typer.Argument(metavar="TENANT", help="Name of the tenant.")]) -> None:
    """Create a tenant.

    Nothing happens when there is one of that name.
    """
    from orchestration.platform.clock import now_ms
    from schemas.ids import tenant_name

    catalog_context().audiences.add_tenant(tenant_name(name), now_ms())
    print_line(f"tenant {name} exists")


@command(tenants, "configure", "muster tenants configure acme --notify-email ops@acme.example")
def configure_tenant(
    *,
    name: Annotated[str, typer.Argument(metavar="TENANT", help="Name of the tenant.")],
    notify_email: Emails = None,
    notify_webhook: Webhooks = None,
    notify_nobody: Nobody = False,
    json: options.Json = False,
) -> None:
    """Say who is told of all audiences of a tenant.

    What is named replaces all of its kind.
    """
    del json
    from orchestration.operations.notifying import hints, recipients_record, set_recipients
    from schemas.ids import tenant_name

    context, tenant = catalog_context(), tenant_name(name)
    set_recipients(
        context, tenant, None, emails=notify_email or (), webhooks=notify_webhook or (), nobody=notify_nobody
    )
    told = context.recipients.of(tenant, None)
    if SESSION.json:
        print_json({"tenant": tenant, "told": recipients_record(told)})
    else:
        print_pairs([("tenant", tenant), ("told", ", ".join(r.shown for r in told) or "nobody")])
    for hint in hints(context, told):
        say(hint)


@command(tenants, "list", "muster tenants list --json")
def list_tenants(*, json: options.Json = False) -> None:
    """List tenants."""
    del json
    context = catalog_context()
    names = context.audiences.tenants()
    if SESSION.json:
        print_json(names)
        return
    count = {name: len(context.audiences.all(name)) for name in names}
    print_table(("TENANT", "AUDIENCES"), [(name, count[name]) for name in names], right=("AUDIENCES",))
