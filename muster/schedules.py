"""Schedules, and who is notified. Part of `Client`."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, cast

from muster.methods import Methods, Tagged
from muster.records import Record
from muster.repeating import start


class Schedules(Methods):
    """See `Client`."""

    def schedules(self, tenant: str) -> Iterator[Record]:
        """Schedules by name."""
        return self._calls.pages("/tenants/{}/schedules", tenant)

    def schedule(self, tenant: str, schedule: str) -> Record:
        """One schedule."""
        return self._get("/tenants/{}/schedules/{}", tenant, schedule)

    def schedule_with_etag(self, tenant: str, schedule: str) -> Tagged:
        """A schedule, and its ETag."""
        return self._tagged("GET", "/tenants/{}/schedules/{}", tenant, schedule)

    def create_schedule(self, tenant: str, name: str, expression: str, **wanted: Any) -> Tagged:
        """Create a schedule. `wanted`: `timezone`, and one of `import`, `export`, `snapshot`."""
        body = {"name": name, "expression": expression, **wanted}
        return self._tagged("POST", "/tenants/{}/schedules", tenant, body=body)

    def change_schedule(self, tenant: str, schedule: str, *, etag: str, **changes: Any) -> Tagged:
        """Change `expression`, `timezone`, `enabled`, or members of `import`, `export`, `snapshot`; the rest stays."""
        return self._tagged("PATCH", "/tenants/{}/schedules/{}", tenant, schedule, body=changes, etag=etag)

    def delete_schedule(self, tenant: str, schedule: str, *, etag: str) -> Record:
        """Delete a schedule; returns it as it was."""
        return self._send("DELETE", "/tenants/{}/schedules/{}", tenant, schedule, etag=etag)

    def run_schedule(self, tenant: str, schedule: str, *, key: str | None = None) -> Record:
        """Start a run now; returns {job or export}."""
        return start(self._calls, "/tenants/{}/schedules/{}/runs", tenant, schedule, key=key)

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
