"""`muster identities`: break-glass access, on the catalog itself, when everyone is locked out of the service."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestration.cli.admin.audit_trail import audited
from orchestration.cli.admin.contexts import catalog_context
from orchestration.cli.commands import Done, Group, command, show_done
from orchestration.cli.console import print_line, print_note, print_table
from orchestration.platform.deferred import deferred
from schemas.errors import UserError
from schemas.ids import JobId
from schemas.records import as_record

if TYPE_CHECKING:
    from orchestration.composition.service import Services
    from orchestration.records.access import MadeToken

with deferred(__name__):
    from orchestration.access import owner
    from orchestration.composition import service

TOP = Group("")
identities = Group("identities", "muster identities list", "muster identities admin-token ann")
TOP.add_typer(identities)
PAGE = 500


@contextmanager
def _services() -> "Iterator[Services]":
    made = service.Services(catalog_context().settings)
    try:
        yield made
    finally:
        made.close()


def _show(found: Sequence[dict[str, Any]]) -> None:
    if not found:
        print_note("There are no principals: the service creates the owner at its first start.")
        return
    print_table(
        ("PRINCIPAL", "NAME", "KIND", "ROLES"),
        [(one["principal"], one["name"], one["kind"], _roles(one["roles"])) for one in found],
    )


def _roles(roles: dict[str, list[str]]) -> str:
    return ", ".join(f"{' '.join(held)} in {scope or 'the deployment'}" for scope, held in roles.items())


@command(
    identities,
    "list",
    "muster identities list",
    show=_show,
    record=list,
)
def list_identities() -> "list[dict[str, Any]]":
    """List all principals with their roles."""
    found: list[dict[str, Any]] = []
    with _services() as access:
        after = ""
        while page := access.principals.page(after=after, limit=PAGE):
            after = page[-1].name
            for one in page:
                held: dict[str, list[str]] = {}
                for scope, role in sorted(access.principals.granted(JobId(one.principal))):
                    held.setdefault(scope, []).append(role)
                found.append({**as_record(one), "roles": held})
    return found


def _show_token(made: "MadeToken") -> None:
    print_line(made.secret)
    print_note(f"Token {made.token} until {made.expires_at[:10]}, with all rights in the deployment.")
    print_note("It is not shown again. `muster login URL` keeps it.")


@command(
    identities,
    "admin-token",
    "muster identities admin-token ann --days 1",
    show=_show_token,
    record=as_record,
    audit=audited,
)
def admin_token(
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the person; created if missing.")],
    days: Annotated[int, typer.Option("--days", metavar="N", help="How long the token is valid.")] = 1,
) -> "MadeToken":
    """Make a person an administrator of the deployment, with a token."""
    with _services() as access:
        return owner.administrator_token(access, name, days=days)


@command(identities, "rotate-owner", "muster identities rotate-owner", show=show_done, audit=audited)
def rotate_owner() -> Done:
    """Replace the owner token in the home, and revoke the earlier ones."""
    settings = catalog_context().settings
    if not settings.engine_url:
        raise UserError("NO_OWNER_TOKEN", "at AWS no file holds an owner token; use `muster identities admin-token`")
    with _services() as access:
        file = owner.rotate_owner_token(access, settings.home)
    return Done(record={"file": str(file)}, text=f"the owner token is in {file}; earlier ones are revoked")
