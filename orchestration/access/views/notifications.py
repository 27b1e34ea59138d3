"""Notifications of the deployment."""

from typing import Annotated

from orchestration.access.bodies.notifications import MOST, NewResend
from orchestration.access.guard import Entry, reads, recorded
from orchestration.access.policy import Action
from orchestration.access.views.deployment import DeploymentView
from orchestration.operations.notifying import resend
from orchestration.records import notifications as answers
from orchestration.records.fields import About


class Notifications(DeploymentView):
    """Notifications of all tenants."""

    @reads(Action.READ_DEPLOYMENT, "GET /notifications")
    def list_notifications(self, *, limit: Annotated[int, About(ge=1, le=MOST)] = 100) -> answers.Notifications:
        """Notifications of all tenants that are waiting or were given up."""
        found = self._services.outbox.undelivered(limit + 1)
        return answers.Notifications(items=[one.shown for one in found[:limit]], more=len(found) > limit)

    @recorded(
        Action.READ_DEPLOYMENT,
        "notifications resend",
        "POST /notifications/resends",
        problems=("UNKNOWN_NOTIFICATION", "DELIVERED"),
    )
    def resend_notifications(self, entry: Entry, body: NewResend) -> answers.Resent:
        """Restart the delivery of notifications."""
        ids = body.notifications
        entry.object, entry.arguments = "notifications", {"notifications": ids}
        entry.after = done = answers.Resent(resent=resend(self._services.outbox, ids or (), given_up=ids is None))
        return done
