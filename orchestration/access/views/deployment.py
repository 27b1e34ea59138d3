"""What a caller may see and do in the deployment as a whole."""

from collections.abc import Mapping, Sequence

from orchestration.access.authentication import Caller
from orchestration.access.guard import Entry, View, reads, recorded
from orchestration.access.pages import Record
from orchestration.access.policy import Action
from orchestration.access.revisions import require_revision, revision_of
from orchestration.catalog.places import Places
from orchestration.composition.service import Services
from orchestration.kinds.places import checked_place
from orchestration.operations.notifying import notification_record, resend
from schemas.ids import tenant_name


class DeploymentView(View):
    """The deployment as one caller sees it; raises `UserError` FORBIDDEN, `RetriableError` CATALOG_UNAVAILABLE."""

    def __init__(self, services: Services, caller: Caller) -> None:
        super().__init__(services, caller, tenant=None)

    @reads(Action.MANAGE_DEPLOYMENT)
    def places(self) -> tuple[Record, str]:
        """The places of all tenants, and their revision."""
        record = _places_record(self._services.places.all())
        return record, revision_of(record, ("items",))

    @recorded(Action.MANAGE_DEPLOYMENT, "places replace")
    def replace_places(self, entry: Entry, wanted: Mapping[str, Sequence[str]], *, seen: str) -> tuple[Record, str]:
        """Replace the places of all tenants; returns them and their revision. `seen`: the revision that was read.

        Raises `UserError` STALE_ETAG, BAD_NAME, BAD_PLACE, UNKNOWN_TENANT.
        """
        entry.object, entry.arguments = "places", {name: list(places) for name, places in wanted.items()}
        checked = {tenant_name(name): [checked_place(one) for one in places] for name, places in wanted.items()}

        def check(present: Places) -> None:
            entry.before = _places_record(present)
            require_revision(revision_of(entry.before, ("items",)), seen)

        _, after = self._services.places.replace(checked, check)
        entry.after = _places_record(after)
        return entry.after, revision_of(entry.after, ("items",))

    @reads(Action.READ_DEPLOYMENT)
    def notifications(self, *, limit: int) -> Record:
        """Notifications of all tenants that are waiting or were given up. `more`: there are others."""
        found = self._services.outbox.undelivered(limit + 1)
        return {"items": [notification_record(one) for one in found[:limit]], "more": len(found) > limit}

    @recorded(Action.READ_DEPLOYMENT, "notifications resend")
    def resend_notifications(self, entry: Entry, ids: Sequence[str] | None) -> Record:
        """Restart the delivery of these notifications, or of all that were given up (None); returns how many.

        Raises `UserError` UNKNOWN_NOTIFICATION, DELIVERED.
        """
        entry.object, entry.arguments = "notifications", {"notifications": None if ids is None else list(ids)}
        entry.after = {"resent": resend(self._services.outbox, ids or (), given_up=ids is None)}
        return entry.after


def _places_record(found: Places) -> Record:
    return {"items": [{"tenant": name, "places": list(places)} for name, places in found.items()]}
