"""Tenants of the deployment."""

from orchestration.access.bodies.access import NewTenant
from orchestration.access.guard import Entry, reads, recorded
from orchestration.access.pages import Page, page_of
from orchestration.access.policy import Action
from orchestration.access.views.deployment import DeploymentView
from orchestration.catalog.places import EVERYWHERE
from orchestration.platform.clock import now_ms
from orchestration.records.access import Tenant
from schemas.ids import DEFAULT_TENANT, TenantName, tenant_name


class Tenants(DeploymentView):
    """Tenants as one caller sees and creates them."""

    @reads(Action.OWN_ACCOUNT, "GET /tenants")
    def list_tenants(self, *, after: str = "", limit: int) -> Page[Tenant]:
        """The tenants in which the caller has a right, by name."""
        rights = self._caller.rights
        found = (
            self._services.audiences.tenant_page(after=after, limit=limit + 1)
            if rights.everywhere
            else [name for name in sorted(rights.tenants) if name > after][: limit + 1]
        )
        return page_of(found, limit, str, self._tenant_of)

    @recorded(Action.MANAGE_DEPLOYMENT, "tenants create", "POST /tenants", status=201, problems=("BAD_NAME",))
    def create_tenant(self, entry: Entry, body: NewTenant) -> Tenant:
        """Create a tenant. No effect on one that exists."""
        entry.object = body.tenant[:63]
        tenant = tenant_name(body.tenant)
        places = (EVERYWHERE,) if tenant == DEFAULT_TENANT else ()
        self._services.audiences.add_tenant(tenant, now_ms(), places=places)
        return self._tenant_of(tenant)

    def _tenant_of(self, name: TenantName) -> Tenant:
        return Tenant(tenant=name, actions=sorted(self._caller.rights.in_tenant(name)))
