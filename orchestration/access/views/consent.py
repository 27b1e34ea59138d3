"""The consent policy of a tenant: whose members its exports leave out."""

from orchestration.access.bodies.consent import NewConsent
from orchestration.access.guard import Entry, reads, recorded
from orchestration.access.pages import Tagged
from orchestration.access.policy import Action
from orchestration.access.revisions import Seen, unchanged
from orchestration.access.views.tenant import TenantView
from orchestration.catalog.consent import ConsentPolicy, StandingList
from orchestration.kinds.consent import checked_destination, checked_lists
from orchestration.platform.clock import now_ms
from orchestration.records import consent as answers


class Consent(TenantView):
    """The policy as one caller sees and changes it."""

    @reads(Action.READ, "GET /consent")
    def get_consent(self) -> Tagged[answers.Consent]:
        """The lists whose members are left out of exports, by destination."""
        return _shown(self._services.consent.of(self._name))

    @recorded(
        Action.MANAGE_AUDIENCES,
        "consent replace",
        "PUT /consent",
        problems=("BAD_NAME", "BAD_PLACE", "BAD_CONSENT", "UNKNOWN_AUDIENCE"),
    )
    def replace_consent(self, entry: Entry, body: NewConsent, *, seen: Seen) -> Tagged[answers.Consent]:
        """Replace the consent policy. It applies to all exports that are registered from now on, retries included."""
        entry.object, entry.arguments = "consent", {"items": [one.model_dump() for one in body.items]}
        wanted = [
            StandingList(
                audience_id=audience.audience_id,
                audience=audience.name,
                destination=checked_destination(one.destination),
                max_age_s=one.max_age_s,
                exempt=one.exempt,
            )
            for one in body.items
            for audience in (self._audience(one.audience),)
        ]

        def check(present: ConsentPolicy) -> None:
            before = _shown(present)
            entry.before = before
            unchanged(before.revision, seen)(before)

        changed = self._services.consent.replace(self._name, checked_lists(wanted), now_ms=now_ms(), check=check)
        entry.after = after = _shown(changed)
        return after


def _shown(found: ConsentPolicy) -> answers.Consent:
    return answers.Consent(
        policy=found.policy,
        items=[
            answers.ConsentList(
                audience=one.audience, destination=one.destination, max_age_s=one.max_age_s, exempt=one.exempt
            )
            for one in found.lists
        ],
    )
