"""Who is notified in a tenant."""

from collections.abc import Sequence
from typing import Final

from orchestration.access.bodies.common import Named
from orchestration.access.bodies.recipients import ChangedRecipients, NewRecipients, NewTest
from orchestration.access.guard import Entry, reads, recorded
from orchestration.access.policy import Action
from orchestration.access.views.tenant import TenantView
from orchestration.catalog.operations import Operation
from orchestration.operations.notifying import hints, set_recipients, shown_recipients
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.records import recipients as answers
from orchestration.records.operations import Operation as ShownOperation
from schemas.errors import UserError
from schemas.ids import JobId, audience_name
from schemas.records import as_record

TESTS_PER_MINUTE: Final = 5
"""Limit of test notifications of a tenant: people look at each, and receivers have not asked for them."""
OF_AUDIENCES: Final = ("UNKNOWN_AUDIENCE", "BAD_NAME")


class Recipients(TenantView):
    """Recipients as one caller sees and changes them."""

    @reads(Action.MANAGE_AUDIENCES, "GET /recipients", problems=OF_AUDIENCES)
    def list_recipients(self, *, audience: Named = None) -> answers.Recipients:
        """Who is notified about an audience, or about all audiences of the tenant."""
        return self._shown(self._about(audience))

    @recorded(
        Action.MANAGE_AUDIENCES, "recipients replace", "PUT /recipients", problems=(*OF_AUDIENCES, "BAD_RECIPIENT")
    )
    def replace_recipients(self, entry: Entry, body: NewRecipients, *, audience: Named = None) -> answers.Recipients:
        """Replace who is notified about an audience, or about all audiences of the tenant."""
        return self._replace(entry, audience, body.email, body.webhook)

    @recorded(
        Action.MANAGE_AUDIENCES, "recipients replace", "PATCH /recipients", problems=(*OF_AUDIENCES, "BAD_RECIPIENT")
    )
    def change_recipients(self, entry: Entry, body: ChangedRecipients, *, audience: Named = None) -> answers.Recipients:
        """Replace who is notified by mail, by webhook, or by both."""
        return self._replace(entry, audience, body.email, body.webhook)

    @recorded(
        Action.MANAGE_AUDIENCES,
        "recipients test",
        "POST /recipients/tests",
        status=202,
        problems=(*OF_AUDIENCES, "UNKNOWN_RECIPIENT", "TOO_MANY_TESTS"),
        client="begin_recipient_test",
    )
    def send_test_notification(self, entry: Entry, body: NewTest, *, audience: Named = None) -> ShownOperation:
        """Send a test notification to a recipient, once; its operation says whether it arrived."""
        entry.object = "recipients" if audience is None else audience[:63]
        channel, address = body.channel, body.address
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

    def _replace(
        self, entry: Entry, audience: str | None, emails: Sequence[str] | None, webhooks: Sequence[str] | None
    ) -> answers.Recipients:
        """None leaves a channel."""
        entry.object = "recipients" if audience is None else audience[:63]
        about, services = self._about(audience), self._services
        set_recipients(
            self._name,
            about,
            emails=emails,
            webhooks=webhooks,
            recipients=services.recipients,
            settings=services.settings,
        )
        changed = self._shown(about)
        entry.after = {"items": [as_record(one) for one in changed.items]}  # URLs without their query: a secret perhaps
        return changed

    def _about(self, audience: str | None) -> JobId | None:
        if audience is None:
            return None
        return self._audience(audience).audience_id

    def _shown(self, about: JobId | None) -> answers.Recipients:
        found = self._services.recipients.get(self._name, about)
        return answers.Recipients(items=shown_recipients(found), warnings=hints(self._services.settings, found))
