"""`muster audiences add` and `remove`."""

from typing import Annotated

import typer

from orchestration.cli import options, remote
from orchestration.cli.audience_commands import audiences
from orchestration.cli.commands import Answer, command
from orchestration.cli.following import Followed, Submitted, show_started, submitted
from schemas.ids import JobId
from schemas.import_targets import MAX_NAMED_USERS

Users = Annotated[list[str], typer.Argument(metavar="USER...", help="Ids of users.")]


@command(
    audiences,
    "add",
    "muster audiences add vip ann bob --wait",
    show=show_started,
)
def add(
    *,
    name: options.AudienceArgument,
    users: Users,
    tenant: options.MeantTenant = None,
    wait: options.Wait = False,
    timeout: options.Timeout = None,
) -> Answer[Submitted | Followed]:
    """Add users to an audience by their ids.

    Starts an import with a row for each, in mode append. Members keep their values in the columns of the audience.
    """
    _check(name, users, "append")
    with remote.service() as found:
        started = found.add_members(remote.resolve_tenant(found, tenant), name, users=users)
    return submitted(JobId(started["job"]), wait=wait, timeout_s=timeout)


@command(
    audiences,
    "remove",
    "muster audiences remove vip ann --wait",
    show=show_started,
)
def remove(
    *,
    name: options.AudienceArgument,
    users: Users,
    tenant: options.MeantTenant = None,
    wait: options.Wait = False,
    timeout: options.Timeout = None,
) -> Answer[Submitted | Followed]:
    """Remove users from an audience by their ids.

    Starts an import with a row for each, in mode remove. The limit of shrinking of the audience applies.
    """
    _check(name, users, "remove")
    with remote.service() as found:
        started = found.remove_members(remote.resolve_tenant(found, tenant), name, users=users)
    return submitted(JobId(started["job"]), wait=wait, timeout_s=timeout)


def _check(audience: str, users: list[str], mode: str) -> None:
    if len(users) > MAX_NAMED_USERS:
        raise typer.BadParameter(
            f"at most {MAX_NAMED_USERS} at once, not {len(users)}; for more, import a file of ids: "
            f"muster import FILE --audience {audience} --mode {mode}",
            param_hint="USER",
        )
