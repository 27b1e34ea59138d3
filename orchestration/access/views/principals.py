"""One person or service account: what it may do, its tokens, and the end of all its access."""

from collections.abc import Collection
from typing import Final

from orchestration.access.grants import check_administrators, principal_record, token_record
from orchestration.access.guard import Entry, reads, recorded
from orchestration.access.pages import Record
from orchestration.access.policy import DEPLOYMENT, Action, Role, Scope
from orchestration.access.request_ids import principal_id
from orchestration.access.views.deployment import DeploymentView
from orchestration.platform.clock import now_ms
from schemas.errors import UserError

TOKENS: Final = 200
"""The newest; ended ones are removed after a time."""


class PrincipalsView(DeploymentView):
    """Principals as one caller sees them."""

    @reads(Action.MANAGE_DEPLOYMENT)
    def principal(self, id_: str) -> Record:
        """A principal with its roles and its newest tokens. Raises `UserError` BAD_JOB_ID, UNKNOWN_PRINCIPAL."""
        wanted = principal_id(id_)
        found = self._services.principals.find(wanted)
        if found is None:
            raise UserError("UNKNOWN_PRINCIPAL", f"there is no principal {wanted}", principal=wanted)
        tokens = self._services.tokens.page(principal_id=wanted, limit=TOKENS)
        return {
            **principal_record(found),
            **_roles_record(self._services.principals.granted(wanted)),
            "tokens": [token_record(one) for one in tokens],
        }

    @recorded(Action.MANAGE_ACCESS, "principals withdraw")
    def withdraw_access(self, entry: Entry, id_: str) -> Record:
        """Take all roles from a principal, revoke its tokens and end its sessions; returns the principal after that.

        Raises as `principal`, and `UserError` LAST_ADMINISTRATOR.
        """
        entry.object, entry.arguments = "principals", {"principal": id_[:26]}
        wanted = principal_id(id_)
        had = self._services.principals.withdraw(wanted, now_ms=now_ms(), check=check_administrators)
        entry.before = _roles_record(had)
        entry.after = _roles_record(())
        return self.principal(id_)


def _roles_record(held: Collection[tuple[Scope, Role]]) -> Record:
    tenants: dict[Scope, list[Role]] = {}
    for scope, role in sorted(held):
        tenants.setdefault(scope, []).append(role)
    return {"deployment": tenants.pop(DEPLOYMENT, []), "tenants": tenants}
