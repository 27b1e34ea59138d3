"""Places of tenants: what they may name beyond their own."""

from orchestration.access.bodies import places as bodies
from orchestration.access.guard import Entry, reads, recorded
from orchestration.access.pages import Tagged
from orchestration.access.policy import Action
from orchestration.access.revisions import Seen, unchanged
from orchestration.access.views.deployment import DeploymentView
from orchestration.catalog import places as catalog
from orchestration.kinds.places import checked_place
from orchestration.records import places as answers
from schemas.ids import tenant_name


class Places(DeploymentView):
    """The places of all tenants."""

    @reads(Action.MANAGE_DEPLOYMENT, "GET /places")
    def get_places(self) -> Tagged[answers.Places]:
        """The places of all tenants: what they may name beyond their own."""
        return _shown(self._services.places.all())

    @recorded(
        Action.MANAGE_DEPLOYMENT, "places replace", "PUT /places", problems=("BAD_NAME", "BAD_PLACE", "UNKNOWN_TENANT")
    )
    def replace_places(self, entry: Entry, body: bodies.Places, *, seen: Seen) -> Tagged[answers.Places]:
        """Replace the places of all tenants. Jobs that run keep theirs; retries and scheduled runs do not."""
        entry.object, entry.arguments = "places", {one.tenant: list(one.places) for one in body.items}
        wanted = {tenant_name(one.tenant): [checked_place(place) for place in one.places] for one in body.items}

        def check(present: catalog.Places) -> None:
            entry.before = before = _shown(present)
            unchanged(before.revision, seen)(before)

        _, after = self._services.places.replace(wanted, check)
        entry.after = changed = _shown(after)
        return changed


def _shown(found: catalog.Places) -> answers.Places:
    return answers.Places(items=[answers.TenantPlaces(tenant=name, places=places) for name, places in found.items()])
