"""`muster grants`: who may do what, and who is known to the service."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestration.cli import options
from orchestration.cli.commands import Answer, Done, Group, command, show_done
from orchestration.cli.console import print_line, print_note, print_table
from orchestration.cli.remote import resolve_tenant, service

if TYPE_CHECKING:
    from muster.administration import TaggedGrants
    from muster.api_types import Principal

TOP = Group("")
grants = Group("grants", "muster grants list --tenant acme", "muster grants withdraw PRINCIPAL")
TOP.add_typer(grants)
OfDeployment = Annotated[bool, typer.Option("--deployment", help="Roles in the deployment, not in a tenant.")]
PrincipalId = Annotated[str, typer.Argument(metavar="PRINCIPAL", help="Id of the person or service account.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldGrants:
    """The roles in a scope."""

    scope: str
    found: "TaggedGrants"

    def as_record(self) -> Mapping[str, Any]:
        """Plain JSON data."""
        return {"scope": self.scope, "grants": self.found["items"]}


def _show_grants(held: HeldGrants) -> None:
    if not held.found["items"]:
        print_note(f"No principal has a role in {held.scope}.")
        return
    print_table(
        ("PRINCIPAL", "NAME", "KIND", "ROLES"),
        [
            (
                one["principal"],
                one["name"],
                one["kind"],
                " ".join([*one["roles"], *(f"{role} (group)" for role in one["group_roles"])]),
            )
            for one in held.found["items"]
        ],
    )


@command(
    grants,
    "list",
    "muster grants list --tenant acme",
    "muster grants list --deployment",
    show=_show_grants,
)
def list_grants(*, tenant: options.MeantTenant = None, deployment: OfDeployment = False) -> HeldGrants:
    """List who has which roles."""
    with service() as found:
        scope = None if deployment else resolve_tenant(found, tenant)
        return HeldGrants(scope=scope or "the deployment", found=found.grants(scope))


@command(
    grants,
    "set",
    "muster grants set PRINCIPAL --role analyst --role operator --tenant acme",
    "muster grants set PRINCIPAL --tenant acme",
    show=_show_grants,
)
def set_grants(
    *,
    principal: PrincipalId,
    role: Annotated[
        list[str] | None,
        typer.Option("--role", metavar="ROLE", help="Role to have (repeatable); omit to take all away."),
    ] = None,
    tenant: options.MeantTenant = None,
    deployment: OfDeployment = False,
) -> HeldGrants:
    """Set the roles of a person or service account.

    Replaces those that it has in the tenant.
    """
    with service() as found:
        scope = None if deployment else resolve_tenant(found, tenant)
        now = found.grants(scope)
        wanted = {one["principal"]: one["roles"] for one in now["items"]} | {principal: role or []}
        changed = found.replace_grants(scope, wanted, etag=now["etag"])
        return HeldGrants(scope=scope or "the deployment", found=changed)


def _show_principal(made: "Principal") -> None:
    print_line(f"{made['kind']} {made['name']} is principal {made['principal']}")


@command(
    grants,
    "create",
    'muster grants create "nightly loader" --service',
    show=_show_principal,
)
def create_principal(
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the person or service account.")],
    service_: Annotated[bool, typer.Option("--service", help="A service account, not a person.")] = False,
) -> "Answer[Principal]":
    """Create a person or a service account, without roles."""
    with service() as found:
        made = found.create_principal(name, kind="service" if service_ else "person")
    return Answer(value=made, notes=["Give it roles with `muster grants set`."])


@command(grants, "withdraw", "muster grants withdraw PRINCIPAL --yes", show=show_done)
def withdraw(
    *,
    principal: PrincipalId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Skip the confirmation prompt.")] = False,
) -> Done:
    """Take all access from a person or service account.

    Takes its roles in the deployment and all tenants, revokes its tokens and ends its sessions. Groups at an identity
    provider give their roles again at the next login.
    """
    with service() as found:
        known = found.principal(principal)
        named = f"{known['kind']} {known['name']}"
        if not yes:
            typer.confirm(f"Remove all roles, tokens and sessions of {named}?", abort=True, err=True)
        return Done(record=found.withdraw_access(principal), text=f"{named} no longer has access")
