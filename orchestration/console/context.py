"""What a page reads: the caller's views, all in one call for the whole page."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from starlette.requests import Request

from orchestration.access.authentication import Caller
from orchestration.access.policy import Action
from orchestration.access.views.deployment import DeploymentView
from orchestration.access.views.tenant import TenantView
from orchestration.access.views.tenants import Tenants
from orchestration.api.service import service_of
from orchestration.composition.service import Services

ViewT = TypeVar("ViewT", bound=TenantView)
DeploymentT = TypeVar("DeploymentT", bound=DeploymentView)
ValueT = TypeVar("ValueT")
TENANTS: Final = 500
"""In the menu. Addresses reach the others."""


@dataclass(frozen=True, slots=True)
class PageContext:
    """The views of one caller in one tenant."""

    _services: Services
    _caller: Caller
    tenant: str

    def view(self, kind: type[ViewT]) -> ViewT:
        """Raises `UserError` UNKNOWN_TENANT."""
        return kind(self._services, self._caller, self.tenant)

    def may(self, action: Action) -> bool:
        """Whether to offer something; the view decides again when it is done. Raises `UserError` UNKNOWN_TENANT."""
        return action in self.view(TenantView).permitted

    def in_deployment(self, kind: type[DeploymentT]) -> DeploymentT:
        """A view of the deployment."""
        return kind(self._services, self._caller)

    @property
    def deployment(self) -> DeploymentView:
        """The view of the deployment."""
        return self.in_deployment(DeploymentView)

    def tenants(self) -> list[str]:
        """The caller's tenants."""
        return [one.tenant for one in self.in_deployment(Tenants).list_tenants(limit=TENANTS).items]


async def ask(request: Request, call: Callable[[PageContext], ValueT]) -> ValueT:
    """The result of a call that reads or changes through the caller's views, in a thread of the service."""
    service, caller = service_of(request), request.state.caller
    tenant = str(request.path_params.get("tenant", ""))
    return await service.calls.run(lambda: call(PageContext(service.services, caller, tenant)))
