"""Rows of recipients. `notifications.recipients` gives them a meaning."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from orchestration.catalog.tables import recipients
from schemas.ids import JobId, TenantName


def replace_recipients(
    connection: sa.Connection, tenant: TenantName, audience_id: JobId | None, wanted: Mapping[str, Sequence[str]]
) -> None:
    """Replace the recipients on each channel of `wanted`, in a transaction that has locked the tenant."""
    for channel, addresses in wanted.items():
        key = {"tenant": tenant, "audience_id": audience_id or "", "channel": channel}
        connection.execute(recipients.delete().where(*(recipients.c[name] == v for name, v in key.items())))
        for address in dict.fromkeys(addresses):
            connection.execute(recipients.insert().values(**key, address=address))
