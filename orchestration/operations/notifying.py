"""Operations on notifications: set recipients, list what was not delivered, send it again."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestration.notifications.recipients import email, webhook
from orchestration.notifications.targets import PrivateTargets
from orchestration.platform.clock import now_ms
from orchestration.records import recipients as answers
from schemas.errors import UserError
from schemas.ids import JobId, TenantName, tenant_name

if TYPE_CHECKING:
    from orchestration.notifications.outbox import Outbox
    from orchestration.notifications.recipients import Recipient, RecipientStore
    from orchestration.platform.settings import Secret, Settings


def checked_recipients(
    settings: "Settings", emails: Sequence[str] | None, webhooks: Sequence[str] | None
) -> dict[str, Sequence[str]]:
    """Addresses by channel, without those that are None.

    Raises `UserError` BAD_RECIPIENT for the first that cannot be notified.
    """
    private = PrivateTargets.parse(settings.webhook_private_targets)
    for address in emails or ():
        email(address)
    for address in webhooks or ():
        webhook(address, private)
    wanted = {"email": emails, "webhook": webhooks}
    return {channel: addresses for channel, addresses in wanted.items() if addresses is not None}


def set_recipients(
    tenant: TenantName,
    audience_id: JobId | None,
    *,
    emails: Sequence[str] | None,
    webhooks: Sequence[str] | None,
    recipients: "RecipientStore",
    settings: "Settings",
) -> None:
    """Replace the recipients of an audience, or of a tenant's audiences, per channel; None leaves those of a channel.

    Raises `UserError` BAD_RECIPIENT, UNKNOWN_TENANT.
    """
    recipients.replace(tenant, audience_id, checked_recipients(settings, emails, webhooks))


def hints(settings: "Settings", recipients: "Sequence[Recipient]") -> list[str]:
    """Settings that are missing before these recipients can be notified."""
    channels = {r.channel for r in recipients}
    missing = []
    if "email" in channels and not (settings.smtp_host and settings.smtp_from):
        missing.append("No mail is sent until the settings smtp_host and smtp_from are set.")
    if "webhook" in channels and not (settings.webhook_secret or settings.webhook_secret_holder):
        missing.append("No webhook is sent until the setting webhook_secret is set.")
    return missing


def resend(outbox: "Outbox", ids: Sequence[str], *, given_up: bool) -> int:
    """Restart delivery of these notifications, or of all that were given up; returns how many. Raises `UserError`."""
    if given_up:
        ids = [n.notification_id for n in outbox.undelivered(10_000) if n.state == "given up"]
    for id_ in ids:
        found = outbox.find(id_)
        if found is None:
            raise UserError("UNKNOWN_NOTIFICATION", f"there is no notification {id_}", notification=id_)
        if found.state == "delivered":
            raise UserError("DELIVERED", f"notification {id_} was delivered", notification=id_)
    for id_ in ids:
        outbox.resend(id_, now_ms())
    return len(ids)


def webhook_key(settings: "Settings", tenant: str | None) -> "Secret":
    """The key with which receivers of a tenant, or of the operators, check webhooks. Raises `UserError`."""
    from orchestration.notifications.signing import signing_key  # only this command needs it

    if not (secret := settings.webhook_secret):
        raise UserError("NO_WEBHOOK_SECRET", "the setting webhook_secret is not set")
    return signing_key(secret, None if tenant is None else tenant_name(tenant))


def shown_recipients(found: "Sequence[Recipient]") -> list[answers.Recipient]:
    """Recipients as the service answers them."""
    return [answers.Recipient(channel=one.channel, address=one.shown) for one in found]
