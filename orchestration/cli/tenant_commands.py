"""`muster tenants`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from muster.records import Record
from orchestration.cli import options, remote
from orchestration.cli.commands import Answer, Done, Group, command, show_done
from orchestration.cli.console import print_pairs, print_table

TOP = Group("")
tenants = Group("tenants", "muster tenants create acme", "muster tenants list")
TOP.add_typer(tenants)
NameArgument = Annotated[str, typer.Argument(metavar="TENANT", help="Name of the tenant.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantRecipients:
    """Recipients of notifications about all audiences of a tenant."""

    tenant: str
    recipients: Sequence[Record]

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {"tenant": self.tenant, "told": self.recipients}


@command(tenants, "create", "muster tenants create acme", show=show_done, record=None)
def create_tenant(*, name: NameArgument) -> Done:
    """Create a tenant.

    Does nothing if it exists already.
    """
    with remote.service() as found:
        found.create_tenant(name)
    return Done(text=f"tenant {name} is ready")


def _show_recipients(found: TenantRecipients) -> None:
    print_pairs([("tenant", found.tenant), ("notified", ", ".join(r["address"] for r in found.recipients) or "nobody")])


@command(
    tenants,
    "configure",
    "muster tenants configure acme --notify-email ops@acme.example",
    show=_show_recipients,
)
def configure_tenant(
    *,
    name: NameArgument,
    notify_email: options.Emails = None,
    notify_webhook: options.Webhooks = None,
    notify_nobody: options.Nobody = False,
) -> Answer[TenantRecipients]:
    """Set who is notified about all audiences of a tenant.

    The given recipients replace all of their kind.
    """
    others: list[str] | None = [] if notify_nobody else None
    with remote.service() as found:
        changed = found.change_recipients(name, email=notify_email or others, webhook=notify_webhook or others)
    return Answer(value=TenantRecipients(tenant=name, recipients=changed["items"]), notes=changed["warnings"])


def _show_tenants(audiences: Mapping[str, int]) -> None:
    print_table(("TENANT", "AUDIENCES"), list(audiences.items()), right=("AUDIENCES",))


@command(tenants, "list", "muster tenants list --json", show=_show_tenants, record=list)
def list_tenants() -> Mapping[str, int]:
    """List tenants."""
    with remote.service() as found:
        return {name: len(list(found.audiences(name))) for name in remote.meant_tenants(found, None)}
