"""Who is notified in a tenant."""

from collections.abc import Sequence
from typing import Final, Literal

from orchestration.access.guard import Entry, reads, recorded
from orchestration.access.policy import Action
from orchestration.access.views.tenant import TenantView
from orchestration.catalog.operations import Operation
from orchestration.operations.notifying import hints, set_recipients, shown_recipients
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.records import operations as answers
from orchestration.records.recipients import Recipients
from schemas.errors import UserError
from schemas.ids import JobId, audience_name
from schemas.records import as_record

TESTS_PER_MINUTE: Final = 5
"""Limit of test notifications of a tenant: people look at each, and receivers have not asked for them."""


class RecipientsView(TenantView):
    """Recipients as one caller sees them."""

    @recorded(Action.MANAGE_AUDIENCES, "recipients replace")
    def replace_recipients(
        self, entry: Entry, audience: str | None, *, emails: Sequence[str] | None, webhooks: Sequence[str] | None
    ) -> Recipients:
        """Replace all recipients of notices about an audience, or about all of the tenant; None leaves a channel.

        Raises as `recipients`, and `UserError` BAD_RECIPIENT.
        """
        entry.object = "recipients" if audience is None else audience[:63]
        about = self._about(audience)
        set_recipients(
            self._name,
            about,
            emails=emails,
            webhooks=webhooks,
            recipients=self._services.recipients,
            settings=self._services.settings,
        )
        changed = self._record(about)
        # URLs without their query, which may be a secret
        entry.after = {"items": [as_record(one) for one in changed.items]}
        return changed

    @reads(Action.MANAGE_AUDIENCES)
    def recipients(self, audience: str | None = None) -> Recipients:
        """Recipients of notices about an audience, or about all of the tenant. Raises as `audience`."""
        return self._record(self._about(audience))

    @recorded(Action.MANAGE_AUDIENCES, "recipients test")
    def send_test(
        self, entry: Entry, audience: str | None, *, channel: Literal["email", "webhook"], address: str
    ) -> answers.Operation:
        """Begin to send a test notification to a recipient; `address` as it is shown, or whole.

        Raises as `recipients`, and `UserError` UNKNOWN_RECIPIENT, TOO_MANY_TESTS.
        """
        entry.object = "recipients" if audience is None else audience[:63]
        entry.arguments = {"channel": channel, "address": address.partition("?")[0]}
        about = self._about(audience)
        named = [one for one in self._services.recipients.get(self._name, about) if one.channel == channel]
        found = next((one for one in named if address in {one.address, one.shown}), None)
        if found is None:
            raise UserError(
                "UNKNOWN_RECIPIENT",
                f"{entry.arguments['address']!r} is not a recipient of notifications about "
                f"{f'audience {audience}' if audience else 'all audiences'}; add it first",
                address=entry.arguments["address"],
            )
        now = now_ms()
        if self._services.operations.count(self._name, "recipient_test", since_ms=now - 60_000) >= TESTS_PER_MINUTE:
            raise UserError(
                "TOO_MANY_TESTS", f"at most {TESTS_PER_MINUTE} test notifications a minute; wait a minute and try again"
            )
        new = Operation(
            operation_id=fresh_id(),
            tenant=self._name,
            principal_id=self._caller.principal_id,
            kind="recipient_test",
            action=Action.MANAGE_AUDIENCES.value,
            audience_id=about,
            audience=None if audience is None else audience_name(audience),
            request={"channel": channel, "address": found.address},
            created_at_ms=now,
        )
        self._services.operations.add(new)
        return new.shown(now)

    def _about(self, audience: str | None) -> JobId | None:
        return (
            None if audience is None else self._services.audiences.get(self._name, audience_name(audience)).audience_id
        )

    def _record(self, about: JobId | None) -> Recipients:
        found = self._services.recipients.get(self._name, about)
        return Recipients(items=shown_recipients(found), warnings=hints(self._services.settings, found))
