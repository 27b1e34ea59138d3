"""`muster notifications`, and the notifications that other commands show."""

from collections.abc import Sequence
from typing import Annotated, Literal

import typer

from muster import following
from muster.records import Record
from orchestration.cli import options, remote
from orchestration.cli.commands import Done, Group, command, show_done
from orchestration.cli.console import print_note, print_table

TOP = Group("")
notifications = Group("notifications", "muster notifications list", "muster notifications resend --given-up")
TOP.add_typer(notifications)


def _show_undelivered(rows: Sequence[Record]) -> None:
    if not rows:
        print_note("Everything was delivered.")
        return
    print_table(
        ("NOTIFICATION", "OF", "OUTCOME", "TO", "STATE", "TRIES", "LAST ERROR"),
        [
            (
                *(one[name] for name in ("notification", "subject", "outcome", "recipient", "state", "attempts")),
                one["last_error"] or "",
            )
            for one in rows
        ],
        right=("TRIES",),
    )


@command(
    notifications,
    "list",
    "muster notifications list",
    "muster notifications list --limit 500 --json",
    show=_show_undelivered,
)
def list_(
    *, limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="Show at most this many.")] = 100
) -> Sequence[Record]:
    """List notifications that are pending or were given up.

    `muster jobs show JOB` lists those of one job.
    """
    with remote.service() as found:
        undelivered: Sequence[Record] = found.notifications(limit=limit)["items"]
    return undelivered


@command(
    notifications,
    "resend",
    "muster notifications resend ID",
    "muster notifications resend --given-up",
    show=show_done,
)
def resend(
    *,
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID...", help="Ids, as shown by `muster notifications list`.")
    ] = None,
    given_up: Annotated[bool, typer.Option("--given-up", help="Resend all that were given up.")] = False,
) -> Done:
    """Restart the delivery of notifications."""
    if bool(ids) == given_up:
        raise typer.BadParameter("name notifications, or use --given-up")
    with remote.service() as found:
        count = found.resend_notifications(ids or None)["resent"]
    return Done(record={"resent": count}, text=f"{count} will be resent within seconds")


@command(
    notifications,
    "test",
    "muster notifications test crm@acme.example --audience vip",
    "muster notifications test https://acme.example/muster",
    show=show_done,
)
def send_test(
    *,
    recipient: Annotated[
        str, typer.Argument(metavar="RECIPIENT", help="An address, or a URL with or without its query.")
    ],
    audience: Annotated[
        str | None,
        typer.Option("--audience", "-a", metavar="AUDIENCE", help="Whose recipient it is, if not the whole tenant's."),
    ] = None,
    tenant: options.MeantTenant = None,
) -> Done:
    """Send a test notification to one recipient, and say whether it arrived.

    It is sent like a real one, but only once. At most five a minute in a tenant.
    """
    with remote.service() as found:
        meant = remote.resolve_tenant(found, tenant)
        channel: Literal["email", "webhook"] = "webhook" if "://" in recipient else "email"
        begun = found.begin_recipient_test(meant, recipient, channel=channel, audience=audience)
        delivered = following.result(found, meant, begun)
    accepted = "the receiver has accepted it" if channel == "webhook" else "the mail server has accepted it"
    return Done(record=delivered, text=f"test notification sent to {delivered['address']}: {accepted}")
