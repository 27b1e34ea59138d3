"""Who is notified in a tenant."""

from collections.abc import Sequence

from orchestration.access.guard import reads
from orchestration.access.pages import Record
from orchestration.access.policy import Action
from orchestration.access.views.tenant import TenantView
from orchestration.operations.notifying import recipients_record
from schemas.ids import audience_name


class RecipientsView(TenantView):
    """Recipients of notices as one caller sees them."""

    @reads(Action.MANAGE_AUDIENCES)
    def recipients(self, audience: str | None = None) -> Sequence[Record]:
        """Recipients of notices about an audience, or about all of the tenant. Raises as `audience`."""
        if audience is None:
            return recipients_record(self._stores.recipients.get(self._name, None))
        found = self._stores.audiences.get(self._name, audience_name(audience))
        return recipients_record(self._stores.recipients.get(self._name, found.audience_id))
