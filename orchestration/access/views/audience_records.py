"""What the views of audiences, and of their changes, show of one."""

from orchestration.access.pages import Record
from orchestration.access.policy import Action
from orchestration.access.views.tenant import TenantView
from orchestration.catalog.records import Audience
from orchestration.operations.audiences import audience_record
from orchestration.operations.notifying import recipients_record


class AudienceRecordsView(TenantView):
    """The base of views that show an audience with its revision."""

    def _audience_record(self, audience: Audience) -> Record:
        """An audience. `notified` is None for those who do not manage audiences."""
        notified = None
        if Action.MANAGE_AUDIENCES in self.permitted:
            notified = recipients_record(self._services.recipients.notified(self._name, audience.audience_id))
        return {**audience_record(audience), "notified": notified}
