"""What the handlers of one service share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from starlette.requests import Request

from orchestration.access.authentication import Caller, authenticate
from orchestration.access.stores import Stores
from orchestration.access.views.deployment import DeploymentView
from orchestration.access.views.everywhere import EverywhereView
from orchestration.access.views.tenant import TenantView
from orchestration.api.budget import Budget
from orchestration.api.calls import Calls
from orchestration.api.request_counts import RequestCounts
from orchestration.platform.clock import now_ms
from schemas.ids import JobId

ValueT = TypeVar("ValueT")
ViewT = TypeVar("ViewT", bound=TenantView)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service. `hosts`: names that may stand in the header Host, in lower case, without port."""

    stores: Stores
    hosts: frozenset[str]
    calls: Calls = field(default_factory=Calls)
    budget: Budget = field(default_factory=Budget)
    counts: RequestCounts = field(default_factory=RequestCounts)

    async def caller(self, token: str, request_id: JobId) -> Caller:
        """Who sends a token. Raises as `authenticate`, and TOO_MANY_REQUESTS."""
        tokens = self.stores.tokens
        caller = await self.calls.run(lambda: authenticate(tokens, token, request_id=request_id, now_ms=now_ms()))
        self.budget.spend(caller.principal.principal_id)
        return caller


def service_of(request: Request) -> Service:
    """The service that handles a request."""
    service: Service = request.state.service
    return service


async def in_tenant(request: Request, view: type[ViewT], tenant: str, call: Callable[[ViewT], ValueT]) -> ValueT:
    """What a call of the caller's view of a tenant returns."""
    service, caller = service_of(request), request.state.caller
    return await service.calls.run(lambda: call(view(service.stores, caller, tenant)))


async def everywhere(request: Request, call: Callable[[EverywhereView], ValueT]) -> ValueT:
    """What a call of the caller's view of all its tenants returns."""
    service, caller = service_of(request), request.state.caller
    return await service.calls.run(lambda: call(EverywhereView(service.stores, caller)))


async def in_deployment(request: Request, call: Callable[[DeploymentView], ValueT]) -> ValueT:
    """What a call of the caller's view of the deployment returns."""
    service, caller = service_of(request), request.state.caller
    return await service.calls.run(lambda: call(DeploymentView(service.stores, caller)))
