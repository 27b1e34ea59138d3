"""Who is notified in a tenant."""

from collections.abc import Sequence

from orchestration.access.guard import Note, reads, recorded
from orchestration.access.pages import Record
from orchestration.access.policy import Action
from orchestration.access.views.tenant import TenantView
from orchestration.operations.notifying import hints, recipients_record, set_recipients
from schemas.ids import JobId, audience_name


class RecipientsView(TenantView):
    """Recipients of notices as one caller sees them."""

    @recorded(Action.MANAGE_AUDIENCES, "recipients replace")
    def replace_recipients(
        self, note: Note, audience: str | None, *, emails: Sequence[str] | None, webhooks: Sequence[str] | None
    ) -> Record:
        """Replace all recipients of notices about an audience, or about all of the tenant; None leaves a channel.

        Raises as `recipients`, and `UserError` BAD_RECIPIENT.
        """
        note.object = "recipients" if audience is None else audience[:63]
        about = self._about(audience)
        set_recipients(
            self._name,
            about,
            emails=emails,
            webhooks=webhooks,
            audiences=self._stores.audiences,
            recipients=self._stores.recipients,
            settings=self._stores.settings,
        )
        changed = self._record(about)
        note.after = {"items": changed["items"]}  # URLs without their query, which may be a secret
        return changed

    @reads(Action.MANAGE_AUDIENCES)
    def recipients(self, audience: str | None = None) -> Record:
        """Recipients of notices about an audience, or about all of the tenant. Raises as `audience`."""
        return self._record(self._about(audience))

    def _about(self, audience: str | None) -> JobId | None:
        return None if audience is None else self._stores.audiences.get(self._name, audience_name(audience)).audience_id

    def _record(self, about: JobId | None) -> Record:
        found = self._stores.recipients.get(self._name, about)
        return {"items": recipients_record(found), "warnings": hints(self._stores.settings, found)}
