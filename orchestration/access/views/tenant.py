"""What a caller may see and do in one tenant.

A tenant without a grant is unknown, and so is everything of another tenant: the tenant is in the same statement as the
id.
"""

from orchestration.access.authentication import Caller
from orchestration.access.edit_guard import EditGuard
from orchestration.access.guard import View
from orchestration.catalog.records import Audience
from orchestration.composition.service import Services
from orchestration.kinds.places import AllowedLocations
from orchestration.readers.cancellation import Cancellation
from orchestration.records.questions import EditPreview
from schemas.errors import UserError
from schemas.ids import NAME_PATTERN, TenantName, audience_name


class TenantView(View):
    """The base of all views of a tenant.

    Raises `UserError` UNKNOWN_TENANT without any right in it, whether or not it exists. Methods raise FORBIDDEN, and
    `RetriableError` CATALOG_UNAVAILABLE.
    """

    def __init__(self, services: Services, caller: Caller, tenant: str) -> None:
        known = NAME_PATTERN.fullmatch(tenant) is not None
        self._name = TenantName(tenant if known else "")
        super().__init__(services, caller, tenant=self._name)
        if not known or not self.permitted:
            raise _unknown_tenant(tenant)
        if self._name not in caller.rights.tenants:  # a role in every tenant says nothing of this one
            try:
                services.audiences.require_tenant(self._name)
            except UserError as exc:
                raise _unknown_tenant(tenant) from exc

    @property
    def name(self) -> TenantName:
        """The tenant."""
        return self._name

    def _audience(self, name: str) -> Audience:
        """The audience of that name. Raises `UserError` BAD_NAME, UNKNOWN_AUDIENCE."""
        return self._services.audiences.get(self._name, audience_name(name))

    def _allowed_locations(self) -> AllowedLocations:
        """What the tenant may name in object stores, topics and profiles."""
        return AllowedLocations(tenant=self._name, places=self._services.places, settings=self._services.settings)

    def _edit_guard(self, cancellation: Cancellation) -> EditGuard:
        return EditGuard(
            services=self._services, tenant=self._name, ask=lambda one: self._ask(EditPreview, one, cancellation)
        )


def _unknown_tenant(tenant: str) -> UserError:
    name = tenant[:63]
    message = f"there is no tenant {name!r}, or you have no role in it; `muster tenants list` lists yours"
    return UserError("UNKNOWN_TENANT", message, tenant=name)
