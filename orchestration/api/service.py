"""What the handlers of one service share."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from starlette.requests import Request

from orchestration.access.authentication import Caller, authenticate
from orchestration.access.stores import Stores
from orchestration.access.views.deployment import DeploymentView
from orchestration.access.views.tenant import TenantView
from orchestration.api.budget import Budget
from orchestration.api.calls import Calls
from orchestration.api.request_counts import RequestCounts
from orchestration.api.streams.watcher import Pace, Watcher
from orchestration.platform.clock import now_ms
from schemas.ids import JobId
from schemas.metrics import Sample

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
    pace: Pace = field(default_factory=Pace)
    streams: Watcher = field(init=False)

    def __post_init__(self) -> None:
        """There is one watcher for all streams."""
        object.__setattr__(self, "streams", Watcher(self.stores, self.pace))

    async def caller(self, token: str, request_id: JobId) -> Caller:
        """Who sends a request with a token. Raises as `identify`, and TOO_MANY_REQUESTS."""
        caller = await self.identify(token, request_id)
        self.budget.spend(caller.principal.principal_id)
        return caller

    async def identify(self, token: str, request_id: JobId) -> Caller:
        """The owner of a token, with the rights of this moment. Raises as `authenticate`."""
        tokens = self.stores.tokens
        return await self.calls.run(lambda: authenticate(tokens, token, request_id=request_id, now_ms=now_ms()))

    def close(self) -> None:
        """Read nothing more from the catalog."""
        self.calls.close()
        self.streams.close()

    def samples(self) -> Iterable[Sample]:
        """Current values of all metrics."""
        return (*self.counts.samples(), *self.streams.samples())


def service_of(request: Request) -> Service:
    """The service that handles a request."""
    service: Service = request.state.service
    return service


async def in_tenant(request: Request, view: type[ViewT], tenant: str, call: Callable[[ViewT], ValueT]) -> ValueT:
    """What a call of the caller's view of a tenant returns."""
    service, caller = service_of(request), request.state.caller
    return await service.calls.run(lambda: call(view(service.stores, caller, tenant)))


async def in_deployment(request: Request, call: Callable[[DeploymentView], ValueT]) -> ValueT:
    """What a call of the caller's view of the deployment returns."""
    service, caller = service_of(request), request.state.caller
    return await service.calls.run(lambda: call(DeploymentView(service.stores, caller)))
