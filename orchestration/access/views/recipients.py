"""Who is notified in a tenant."""

from collections.abc import Sequence

from orchestration.access.guard import Note, reads, recorded
from orchestration.access.pages import Record
from orchestration.access.policy import Action
from orchestration.access.views.tenant import TenantView
from orchestration.operations.notifying import recipients_record, set_recipients
from schemas.ids import audience_name


class RecipientsView(TenantView):
    """Recipients of notices as one caller sees them."""

    @recorded(Action.MANAGE_AUDIENCES, "recipients replace")
    def replace_recipients(
        self, note: Note, audience: str | None, *, emails: Sequence[str], webhooks: Sequence[str]
    ) -> Sequence[Record]:
        """Replace all recipients of notices about an audience, or about all of the tenant.

        Raises as `recipients`, and `UserError` BAD_RECIPIENT.
        """
        note.object = "recipients" if audience is None else audience[:63]
        found = None if audience is None else self._stores.audiences.get(self._name, audience_name(audience))
        set_recipients(
            self._name,
            None if found is None else found.audience_id,
            emails=emails,
            webhooks=webhooks,
            nobody=True,
            audiences=self._stores.audiences,
            recipients=self._stores.recipients,
            settings=self._stores.settings,
        )
        changed = recipients_record(
            self._stores.recipients.get(self._name, None if found is None else found.audience_id)
        )
        note.after = {"items": changed}  # URLs without their query, which may be a secret
        return changed

    @reads(Action.MANAGE_AUDIENCES)
    def recipients(self, audience: str | None = None) -> Sequence[Record]:
        """Recipients of notices about an audience, or about all of the tenant. Raises as `audience`."""
        if audience is None:
            return recipients_record(self._stores.recipients.get(self._name, None))
        found = self._stores.audiences.get(self._name, audience_name(audience))
        return recipients_record(self._stores.recipients.get(self._name, found.audience_id))
