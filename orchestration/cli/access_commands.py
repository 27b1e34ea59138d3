"""`muster login`, `muster console` and `muster tokens`: access to the service, through the service."""

import getpass
import sys
import webbrowser
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli import console_page, options
from orchestration.cli.commands import Answer, Done, Group, command, show_done
from orchestration.cli.console import print_line, print_note, print_table
from orchestration.cli.remote import resolve_tenant, service, translated
from orchestration.platform.deferred import deferred
from schemas.errors import UserError

if TYPE_CHECKING:
    from muster.api_types import MadeToken, Token

with deferred(__name__):
    from muster import access, browser_login, client

TOP = Group("")
tokens = Group("tokens", "muster tokens list", "muster tokens create laptop --role analyst --tenant acme")
TOP.add_typer(tokens)
Roles = Annotated[list[str] | None, typer.Option("--role", metavar="ROLE", help="Role in the tenant (repeatable).")]


@command(
    TOP,
    "login",
    "muster login https://muster.example",
    "muster login https://muster.example --browser",
    show=show_done,
    record=None,
)
def login(
    *,
    url: Annotated[str, typer.Argument(metavar="URL", help="Address of the service.")],
    browser: Annotated[
        bool, typer.Option("--browser", help="Log in in your browser, by the service's identity provider.")
    ] = False,
) -> Done:
    """Store a token for a service.

    Asks for the token, or reads it from stdin. With --browser the service makes one, for twelve hours.
    """
    with translated():
        given = (
            browser_login.browser_login(url, _open)
            if browser
            else access.Access(url=url.rstrip("/"), token=_ask_token())
        )
        with client.Client(given) as found:
            me = found.me()
        file = access.save_access(given)
    return Done(text=f"you are {me['name']} at {given.url}; the token is in {file}")


def _open(url: str) -> None:
    print_note(f"Log in in your browser: {url}")
    webbrowser.open(url)


def _ask_token() -> str:
    text = getpass.getpass("Token: ") if sys.stdin.isatty() else sys.stdin.readline()
    if not (token := text.strip()):
        raise UserError("NO_TOKEN", "no token was given")
    return token


@command(TOP, "console", "muster console", "muster console --no-browser", show=print_line, record=None)
def console(
    *,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
) -> "Answer[str]":
    """Open the service in a browser, logged in.

    Prints an address that works once, within a minute, with the rights of your token.
    """
    with service() as found:
        url = found.console_url(confirm=not no_browser)
    opened = not no_browser and console_page.open_in_browser(url)
    return Answer(
        value=url,
        notes=[
            "It is open in your browser." if opened else "Paste it into the address bar of a browser, within a minute."
        ],
    )


def _show_tokens(found: "Sequence[Token]") -> None:
    if not found:
        print_note("No tokens.")
        return
    print_table(
        ("TOKEN", "NAME", "OF", "ROLES", "EXPIRES", "STATE"),
        [
            (t["token"], t["name"], t["principal"], _roles(t), t["expires_at"][:10], _state(t["revoked_at"]))
            for t in found
        ],
    )


def _roles(token: "Token") -> str:
    held = {**({"the deployment": token["deployment"]} if token["deployment"] else {}), **token["tenants"]}
    return ", ".join(f"{' '.join(roles)} in {scope}" for scope, roles in held.items())


def _state(revoked_at: str | None) -> str:
    return "" if revoked_at is None else f"revoked {revoked_at[:10]}"


@command(tokens, "list", "muster tokens list", "muster tokens list --tenant acme --json", show=_show_tokens)
def list_tokens(
    *,
    tenant: Annotated[
        str | None, typer.Option("--tenant", "-t", metavar="TENANT", help="Tokens that reach this tenant.")
    ] = None,
) -> "list[Token]":
    """List your tokens, or those that reach a tenant."""
    with service() as found:
        return list(found.tokens(tenant))


def _show_made(made: "MadeToken") -> None:
    print_line(made["secret"])
    print_note(f"Token {made['token']} until {made['expires_at'][:10]}. It is not shown again.")


@command(
    tokens,
    "create",
    "muster tokens create laptop --role analyst",
    "muster tokens create loader --role operator --for PRINCIPAL --days 365",
    show=_show_made,
)
def create_token(
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the token is for.")],
    role: Roles = None,
    tenant: options.MeantTenant = None,
    deployment_role: Annotated[
        list[str] | None, typer.Option("--deployment-role", metavar="ROLE", help="Role in the deployment (repeatable).")
    ] = None,
    for_: Annotated[
        str | None, typer.Option("--for", metavar="PRINCIPAL", help="Service account of the tenant [yourself].")
    ] = None,
    days: Annotated[int | None, typer.Option("--days", metavar="DAYS", help="Lifetime [90], at most 365.")] = None,
) -> "MadeToken":
    """Make a token and print it, once.

    It can do what its roles allow, as long as its owner has them too.
    """
    if for_ is not None and deployment_role:
        raise typer.BadParameter("--for makes a token of one tenant: --deployment-role does not apply")
    with service() as found:
        if for_ is not None:
            return found.create_service_token(resolve_tenant(found, tenant), for_, name, role or (), days=days)
        in_tenants = {resolve_tenant(found, tenant): role} if role else {}
        return found.create_token(name, tenants=in_tenants, deployment=deployment_role or (), days=days)


def _show_revoked(token: "Token") -> None:
    print_line(f"token {token['token']} {'is revoked' if token['revoked_at'] else 'no longer reaches the tenant'}")


@command(
    tokens,
    "revoke",
    "muster tokens revoke TOKEN",
    "muster tokens revoke TOKEN --tenant acme",
    show=_show_revoked,
)
def revoke_token(
    *,
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="Id of the token, as `muster tokens list` shows it.")],
    tenant: Annotated[
        str | None,
        typer.Option(
            "--tenant", "-t", metavar="TENANT", help="Take only this tenant from it, also if another principal owns it."
        ),
    ] = None,
) -> "Token":
    """Revoke a token of yours, or take a tenant from any."""
    with service() as found:
        return found.revoke_token(token, tenant=tenant)
