"""Who is notified. Part of `Client`."""

from collections.abc import Sequence
from typing import Literal, cast

from muster.methods import Methods
from muster.records import Record


class Schedules(Methods):
    """See `Client`."""

    def recipients(self, tenant: str, audience: str | None = None) -> list[Record]:
        """Who is notified about an audience, or about all audiences."""
        found = self._get("/tenants/{}/recipients", tenant, query={"audience": audience})
        return cast("list[Record]", found["items"])

    def replace_recipients(
        self, tenant: str, *, email: Sequence[str], webhook: Sequence[str], audience: str | None = None
    ) -> list[Record]:
        """Replace who is notified about an audience, or about all audiences."""
        body, query = {"email": list(email), "webhook": list(webhook)}, {"audience": audience}
        found, _ = self._calls.call("PUT", "/tenants/{}/recipients", tenant, query=query, body=body)
        return cast("list[Record]", found["items"])

    def begin_recipient_test(
        self, tenant: str, address: str, *, channel: Literal["email", "webhook"], audience: str | None = None
    ) -> Record:
        """Begin to send a test notification to a recipient; `operation` has the result."""
        body, query = {"channel": channel, "address": address}, {"audience": audience}
        found, _ = self._calls.call("POST", "/tenants/{}/recipients/tests", tenant, query=query, body=body)
        return cast(Record, found)

    def change_recipients(
        self,
        tenant: str,
        *,
        email: Sequence[str] | None = None,
        webhook: Sequence[str] | None = None,
        audience: str | None = None,
    ) -> Record:
        """Replace who is notified by mail or by webhook; None leaves a channel. Returns {items, warnings}."""
        given = {"email": email, "webhook": webhook}
        body = {name: list(value) for name, value in given.items() if value is not None}
        found, _ = self._calls.call("PATCH", "/tenants/{}/recipients", tenant, query={"audience": audience}, body=body)
        return cast(Record, found)
