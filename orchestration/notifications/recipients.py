"""Recipients. Addresses are validated on input, so that nothing can be smuggled into a header or a request."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.errors import MessageError
from email.headerregistry import Address
from ipaddress import IPv6Address
from typing import Final, Literal
from urllib.parse import urlsplit

import sqlalchemy as sa

from orchestration.catalog.engine import Database
from orchestration.catalog.names import lock_tenant
from orchestration.catalog.recipients import replace_recipients
from orchestration.catalog.tables import recipients
from orchestration.notifications.targets import ANYWHERE, PrivateTargets, literal, refused
from schemas.errors import UserError
from schemas.ids import JobId, TenantName

Channel = Literal["log", "email", "webhook"]

MAX_EMAIL: Final = 254  # RFC 5321, 4.5.3.1.3 less the angle brackets
MAX_URL: Final = 2000
_GRAPHIC: Final = re.compile(r"[!-~]+")
"""Printable ASCII without the space: no line break, no control character, no second address after a blank."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """One address on one channel. `tenant`: whose key signs; None for operators."""

    channel: Channel
    address: str
    tenant: TenantName | None = None

    @property
    def shown(self) -> str:
        """The address without possible secrets: for a URL, only scheme, host and path."""
        return self.address.partition("?")[0]


def email(text: str) -> str:
    """One plain address, `user@host`. Raises `UserError` BAD_RECIPIENT."""
    try:
        parsed = Address(addr_spec=text)
    except (ValueError, MessageError, IndexError):  # what Address raises for half an address
        parsed = None
    is_address = parsed is not None and parsed.username and parsed.domain and parsed.addr_spec == text
    if not is_address or len(text) > MAX_EMAIL or not _GRAPHIC.fullmatch(text) or set(text) & set(',;<>"()'):
        raise UserError("BAD_RECIPIENT", f"{text!r} is not a plain e-mail address", address=text)
    return text


def webhook(text: str, private: PrivateTargets) -> str:
    """An https URL that may be called, judging by its text; http only for `private`. Raises `UserError`.

    A host name is resolved and checked at each call. The code is BAD_RECIPIENT.
    """
    fault = None
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError as exc:
        raise UserError("BAD_RECIPIENT", f"{text!r} is not a URL: {exc}", address=text) from exc
    if not _GRAPHIC.fullmatch(text) or len(text) > MAX_URL or not url.hostname or port == 0:
        fault = "is not a URL"
    elif "[" in url.netloc and not isinstance(literal(url.hostname), IPv6Address):
        fault = "has brackets around what is no IPv6 address"
    elif url.username is not None or url.password is not None or "#" in text:
        fault = "must not contain a user, password or fragment"
    else:
        fault = _not_callable(url.scheme, url.hostname, port, private)
    if fault is not None:
        raise UserError("BAD_RECIPIENT", f"{text!r} {fault}", address=text)
    return text


def _not_callable(scheme: str, host: str, port: int | None, private: PrivateTargets) -> str | None:
    https = scheme == "https"
    if not https and scheme != "http":
        return "is not https"
    port = port or (443 if https else 80)
    if (address := literal(host)) is not None:
        why = refused(host, port, address, https=https, private=private)
        return why and f"cannot be called: {why}"
    return None if https or private.has(host, port) else "is not https, and not in the setting webhook_private_targets"


def operators(emails: str, webhooks: str) -> list[Recipient]:
    """The operators in the settings, separated by blanks or commas. Raises `UserError` BAD_RECIPIENT."""
    return [
        *(Recipient(channel="email", address=email(text)) for text in re.split(r"[\s,]+", emails) if text),
        *(Recipient(channel="webhook", address=webhook(text, ANYWHERE)) for text in webhooks.split() if text),
    ]


class RecipientStore:
    """Recipients in the catalog, for one audience or for all audiences of a tenant (`audience_id` None)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, tenant: TenantName, audience_id: JobId | None) -> list[Recipient]:
        """Recipients of exactly this audience, or of the tenant as a whole."""
        query = (
            sa.select(recipients.c.channel, recipients.c.address)
            .where(recipients.c.tenant == tenant, recipients.c.audience_id == (audience_id or ""))
            .order_by(recipients.c.channel, recipients.c.address)
        )
        with self._database.read() as connection:
            return [
                Recipient(channel=row.channel, address=row.address, tenant=tenant) for row in connection.execute(query)
            ]

    def notified(self, tenant: TenantName, audience_id: JobId | None) -> list[Recipient]:
        """All recipients for an audience: its own and the tenant's, without duplicates."""
        own = [] if audience_id is None else self.get(tenant, audience_id)
        return list(dict.fromkeys([*own, *self.get(tenant, None)]))

    def replace(self, tenant: TenantName, audience_id: JobId | None, wanted: Mapping[str, Sequence[str]]) -> None:
        """Replace the recipients on each channel of `wanted`. Raises `UserError` UNKNOWN_TENANT."""
        with self._database.write() as connection:
            lock_tenant(connection, tenant)
            replace_recipients(connection, tenant, audience_id, wanted)
