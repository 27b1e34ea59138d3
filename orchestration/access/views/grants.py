"""Who has which roles in a tenant, and in the deployment."""

from typing import Final

from orchestration.access.bodies.access import WantedGrants
from orchestration.access.grants import check_administrators, check_roles
from orchestration.access.guard import Entry, reads, recorded
from orchestration.access.pages import Tagged
from orchestration.access.policy import DEPLOYMENT, Action, Role, Scope
from orchestration.access.revisions import Seen, unchanged
from orchestration.access.views.deployment import DeploymentView
from orchestration.access.views.tenant import TenantView
from orchestration.composition.service import Services
from orchestration.platform.clock import now_ms
from orchestration.records.access import Grants
from schemas.errors import UserError
from schemas.ids import JobId

OF_GRANTS: Final = ("UNKNOWN_ROLE", "NO_SUCH_PRINCIPAL", "DUPLICATE_PRINCIPAL", "LAST_ADMINISTRATOR")


class TenantGrants(TenantView):
    """The grants of a tenant as one caller sees and changes them."""

    @reads(Action.MANAGE_ACCESS, "GET /grants", client="tenant_grants")
    def get_grants(self) -> Tagged[Grants]:
        """The roles in the tenant."""
        return self._services.principals.grants(self._name)

    @recorded(Action.MANAGE_ACCESS, "grants replace", "PUT /grants", problems=OF_GRANTS, client="replace_tenant_grants")
    def replace_grants(self, entry: Entry, body: WantedGrants, *, seen: Seen) -> Tagged[Grants]:
        """Replace all roles in the tenant."""
        return _replaced(self._services, entry, self._name, body, seen)


class DeploymentGrants(DeploymentView):
    """The grants of the deployment as one caller sees and changes them."""

    @reads(Action.MANAGE_ACCESS, "GET /grants")
    def get_deployment_grants(self) -> Tagged[Grants]:
        """The roles in the deployment."""
        return self._services.principals.grants(DEPLOYMENT)

    @recorded(Action.MANAGE_ACCESS, "grants replace", "PUT /grants", problems=OF_GRANTS)
    def replace_deployment_grants(self, entry: Entry, body: WantedGrants, *, seen: Seen) -> Tagged[Grants]:
        """Replace all roles in the deployment."""
        return _replaced(self._services, entry, DEPLOYMENT, body, seen)


def _replaced(services: Services, entry: Entry, scope: Scope, body: WantedGrants, seen: Seen) -> Grants:
    """The rules are checked in the transaction that changes the grants."""
    entry.object = "grants"
    wanted = _wanted(scope, body)
    entry.arguments = {principal: sorted(roles) for principal, roles in wanted.items()}

    def check(before: Grants, after: Grants) -> None:
        unchanged(Grants.revision, seen)(before)
        check_administrators(before, after)

    entry.before, after = services.principals.replace_grants(scope, wanted, now_ms=now_ms(), check=check)
    entry.after = after
    return after


def _wanted(scope: Scope, body: WantedGrants) -> dict[JobId, frozenset[Role]]:
    """The roles of each principal. Raises `UserError` UNKNOWN_ROLE, DUPLICATE_PRINCIPAL."""
    wanted: dict[JobId, frozenset[Role]] = {}
    for one in body.items:
        check_roles(scope, one.roles)
        if one.principal in wanted:
            raise UserError(
                "DUPLICATE_PRINCIPAL", f"principal {one.principal} is listed twice", principal=one.principal
            )
        wanted[JobId(one.principal)] = frozenset(one.roles)
    return wanted
