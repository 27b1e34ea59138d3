"""What the handlers of one service share."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

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
from orchestration.readers.cancellation import Cancellation
from schemas.errors import RetriableError
from schemas.ids import JobId

QUESTIONS: Final = 24
"""Threads that wait for readers: those that work, and all that may wait."""
PATIENCE_S: Final = 55.0
"""Load balancers close a connection after 60 s of silence."""
ValueT = TypeVar("ValueT")
ViewT = TypeVar("ViewT", bound=TenantView)
DeploymentT = TypeVar("DeploymentT", bound=DeploymentView)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service. `hosts`: names that may stand in the header Host, in lower case, without port."""

    stores: Stores
    hosts: frozenset[str]
    calls: Calls = field(default_factory=Calls)
    questions: Calls = field(default_factory=lambda: Calls(threads=QUESTIONS, queue=0, limit_s=2 * PATIENCE_S))
    budget: Budget = field(default_factory=Budget)
    counts: RequestCounts = field(default_factory=RequestCounts)

    def close(self) -> None:
        """Start no more calls, end the readers, and close the connections to the catalog."""
        self.calls.close()
        self.questions.close()
        self.stores.close()

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


async def asked_in_tenant(
    request: Request, view: type[ViewT], tenant: str, call: Callable[[ViewT, Cancellation], ValueT]
) -> ValueT:
    """What readers answer to a call of the caller's view of a tenant.

    The question is given up when the client goes, or when its answer would come after the patience of load balancers.
    """
    service, caller = service_of(request), request.state.caller
    return await _asked(request, lambda cancellation: call(view(service.stores, caller, tenant), cancellation))


async def asked_in_deployment(
    request: Request, view: type[DeploymentT], call: Callable[[DeploymentT, Cancellation], ValueT]
) -> ValueT:
    """What readers answer to a call of the caller's view of the deployment; as `asked_in_tenant`."""
    service, caller = service_of(request), request.state.caller
    return await _asked(request, lambda cancellation: call(view(service.stores, caller), cancellation))


async def _asked(request: Request, call: Callable[[Cancellation], ValueT]) -> ValueT:
    cancellation, loop = Cancellation(), asyncio.get_running_loop()

    def run() -> ValueT:
        with cancellation:
            return call(cancellation)

    late = loop.call_later(PATIENCE_S, cancellation.set, _late())
    watch = asyncio.ensure_future(_watch(request, cancellation))
    try:
        return await service_of(request).questions.run(run)
    finally:
        late.cancel()
        watch.cancel()
        cancellation.set(_gone())  # the service no longer waits for it, for whatever reason


async def _watch(request: Request, cancellation: Cancellation) -> None:
    """Give the question up when the client goes."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    cancellation.set(_gone())


def _gone() -> RetriableError:
    return RetriableError("CLIENT_GONE", "the client has gone before its answer")


def _late() -> RetriableError:
    return RetriableError("QUESTION_TIMEOUT", f"the answer took longer than {PATIENCE_S:g} s; try again")


async def in_deployment(request: Request, call: Callable[[DeploymentView], ValueT]) -> ValueT:
    """What a call of the caller's view of the deployment returns."""
    service, caller = service_of(request), request.state.caller
    return await service.calls.run(lambda: call(DeploymentView(service.stores, caller)))
