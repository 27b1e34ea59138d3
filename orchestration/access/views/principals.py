"""People and service accounts."""

from typing import Final

from orchestration.access.bodies.access import NewPrincipal
from orchestration.access.grants import MAX_NAME, check_administrators, check_principal_name
from orchestration.access.guard import Entry, reads, recorded
from orchestration.access.listed import By, Part
from orchestration.access.pages import Page, first
from orchestration.access.policy import Action
from orchestration.access.request_ids import principal_id
from orchestration.access.views.deployment import DeploymentView
from orchestration.catalog.access_records import by_scope
from orchestration.catalog.listing import Listing
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.records.access import Principal, PrincipalDetail
from orchestration.records.fields import extended
from schemas.errors import UserError

TOKENS: Final = 200
"""The newest; ended ones are removed after a time."""


class Principals(DeploymentView):
    """Principals as one caller sees and changes them."""

    @reads(Action.MANAGE_DEPLOYMENT, "GET /principals")
    def list_principals(self, *, part: Part = "", order: By = "name", after: str = "", limit: int) -> Page[Principal]:
        """People and service accounts."""
        listing = Listing(part=part, order=order)
        found = self._services.principals.page(listing=listing, after=after, limit=limit + 1)
        return first(found, limit, lambda one: listing.key(one.name, one.principal))

    @reads(Action.MANAGE_DEPLOYMENT)
    def count_principals(self, *, part: str = "") -> int:
        """How many people and service accounts have this part in their names."""
        return self._services.principals.count(Listing(part=part))

    @recorded(
        Action.MANAGE_DEPLOYMENT,
        "principals create",
        "POST /principals",
        status=201,
        problems=("BAD_PRINCIPAL", "PRINCIPAL_EXISTS"),
    )
    def create_principal(self, entry: Entry, body: NewPrincipal) -> Principal:
        """Create a person or a service account without roles."""
        entry.object, entry.arguments = "principals", {"name": body.name[:MAX_NAME], "kind": body.kind}
        check_principal_name(body.name)
        entry.after = made = self._services.principals.add(fresh_id(), kind=body.kind, name=body.name, now_ms=now_ms())
        return made

    @reads(Action.MANAGE_DEPLOYMENT, "GET /principals/{principal}")
    def get_principal(self, principal: str) -> PrincipalDetail:
        """A person or a service account, with its roles and tokens."""
        wanted = principal_id(principal)
        found = self._services.principals.find(wanted)
        if found is None:
            raise UserError("UNKNOWN_PRINCIPAL", f"there is no principal {wanted}", principal=wanted)
        return extended(
            PrincipalDetail,
            found,
            **by_scope(self._services.principals.granted(wanted)),
            tokens=self._services.tokens.page(principal_id=wanted, limit=TOKENS),
        )

    @recorded(
        Action.MANAGE_ACCESS,
        "principals withdraw",
        "DELETE /principals/{principal}/access",
        problems=("LAST_ADMINISTRATOR",),
    )
    def withdraw_access(self, entry: Entry, principal: str) -> PrincipalDetail:
        """Take all roles from a person or a service account, revoke its tokens and end its sessions.

        Its name stays for the audit trail. Groups of an identity provider grant their roles again at the next login.
        """
        entry.object, entry.arguments = "principals", {"principal": principal[:26]}
        wanted = principal_id(principal)
        had = self._services.principals.withdraw(wanted, now_ms=now_ms(), check=check_administrators)
        entry.before, entry.after = by_scope(had), by_scope(())
        return self.get_principal(principal)
