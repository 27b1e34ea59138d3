"""`muster notifications`, and what other commands show of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli import options
from orchestration.cli.console import print_json, print_line, print_table, say
from orchestration.cli.options import command, group
from orchestration.cli.session import SESSION, catalog_context

if TYPE_CHECKING:
    from orchestration.catalog.records import Audience
    from orchestration.context import Context
    from orchestration.notifications.outbox import Notification

notifications = group(
    "notifications",
    "Mail and webhooks that were not delivered; keys of webhooks.",
    "muster notifications list",
    "muster notifications resend --given-up",
)
Emails = Annotated[
    list[str] | None, typer.Option("--notify-email", metavar="USER@HOST", help="Who is mailed, once for each.")
]
Webhooks = Annotated[
    list[str] | None, typer.Option("--notify-webhook", metavar="URL", help="What is called, once for each.")
]
Nobody = Annotated[bool, typer.Option("--notify-nobody", help="Tell nobody but those also named here.")]


def add_to(app: typer.Typer) -> None:
    """Register the group."""
    app.add_typer(notifications)


@command(notifications, "list", "muster notifications list", "muster notifications list --limit 500 --json")
def list_(
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 100,
    json: options.Json = False,
) -> None:
    """List notifications that wait or were given up.

    Those of one job: `muster jobs show JOB`.
    """
    del json
    from orchestration.operations.notifying import notification_record

    found = catalog_context().outbox.undelivered(limit)
    if SESSION.json:
        print_json([notification_record(row) for row in found])
        return
    if not found:
        say("Everything was delivered.")
        return
    print_table(
        ("NOTIFICATION", "OF", "OUTCOME", "TO", "STATE", "TRIES", "LAST ERROR"),
        [
            (r.notification_id, r.subject, r.outcome, r.recipient.shown, r.state, r.attempts, r.last_error or "")
            for r in found
        ],
        right=("TRIES",),
    )


@command(notifications, "resend", "muster notifications resend ID", "muster notifications resend --given-up")
def resend(
    *,
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Ids, as `list` shows them.")] = None,
    given_up: Annotated[bool, typer.Option("--given-up", help="All that were given up.")] = False,
    json: options.Json = False,
) -> None:
    """Try to deliver notifications again."""
    del json
    from orchestration.operations.notifying import resend as resend_them

    if bool(ids) == given_up:
        raise typer.BadParameter("name notifications, or --given-up")
    count = resend_them(catalog_context(), ids or (), given_up=given_up)
    if SESSION.json:
        print_json({"resent": count})
    else:
        print_line(f"{count} will be tried again within seconds")


@command(notifications, "key", "muster notifications key --tenant acme --to acme.key")
def key(
    *,
    to: Annotated[Path, typer.Option("--to", metavar="PATH", help="The file; only you may read it.")],
    tenant: Annotated[
        str | None, typer.Option("--tenant", "-t", metavar="TENANT", help="For receivers of this tenant.")
    ] = None,
) -> None:
    """Write the key that receivers of webhooks need to a file.

    Without --tenant that of the operators' receivers. It is never printed.
    """
    from connectors.private_files import replace_private
    from orchestration.cli.session import plain_context, settings
    from orchestration.operations.notifying import webhook_key
    from schemas.errors import UserError

    made = webhook_key(plain_context(settings()), tenant)
    try:
        replace_private(to, made.reveal())
    except OSError as exc:
        raise UserError("NOT_WRITABLE", f"{to} cannot be written: {exc.strerror}", path=str(to)) from exc
    print_line(f"the key is in {to}")


def print_notifications(rows: "list[Notification]") -> None:
    """What was told of a job; its line in the log is not news."""
    shown = [row for row in rows if row.channel != "log"]
    if not shown:
        return
    print_line("")
    print_table(
        ("TOLD", "TO", "STATE", "TRIES", "LAST ERROR"),
        [(r.outcome, r.recipient.shown, r.state, r.attempts, r.last_error or "") for r in shown],
        right=("TRIES",),
    )


def change_recipients(
    context: "Context", audience: "Audience", emails: list[str] | None, webhooks: list[str] | None, *, nobody: bool
) -> None:
    """The `--notify-*` options of an audience; says what is still missing before anybody can be told."""
    from orchestration.operations.notifying import hints, set_recipients

    set_recipients(
        context, audience.tenant, audience.audience_id, emails=emails or (), webhooks=webhooks or (), nobody=nobody
    )
    for hint in hints(context, context.recipients.of(audience.tenant, audience.audience_id)):
        say(hint)
