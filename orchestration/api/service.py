"""What the handlers of one service share."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Concatenate, Final, ParamSpec, TypeVar

from starlette.requests import Request

from orchestration.access.authentication import Caller, authenticate
from orchestration.access.oidc.provider import Provider
from orchestration.access.sessions import authenticate_session, check_again
from orchestration.access.views.deployment import DeploymentView
from orchestration.access.views.tenant import TenantView
from orchestration.api.last_use import LastUse
from orchestration.api.site import Site
from orchestration.api.streams.watcher import Pace, Watcher
from orchestration.api.thread_pool import ThreadPool
from orchestration.composition.service import Services
from orchestration.platform.budget import Budget
from orchestration.platform.clock import now_ms
from orchestration.readers.cancellation import Cancellation
from schemas.counters import Counters
from schemas.errors import MusterError, RetriableError, UserError
from schemas.ids import JobId
from schemas.metrics import Sample

QUESTIONS: Final = 24
"""Threads that wait for readers: those that work, and all that may wait."""
QUERIES: Final = 4
"""Queries whose rows are streamed."""
QUERY_S: Final = 3600.0
PATIENCE_S: Final = 55.0
"""Load balancers close a connection after 60 s of silence."""
QUESTION_S: Final = 2 * PATIENCE_S
STREAM_S: Final = QUERY_S + PATIENCE_S
ValueT = TypeVar("ValueT")
GivenP = ParamSpec("GivenP")
ViewT = TypeVar("ViewT", bound=TenantView)
DeploymentT = TypeVar("DeploymentT", bound=DeploymentView)
LOGINS_PER_MINUTE: Final = 10
OUTSIDE_S: Final = 30.0
"""For calls of the identity provider, in threads of their own: a slow provider must not hold up the catalog."""


@dataclass(frozen=True, slots=True)
class Bearer:
    """A token, as it was sent."""

    token: str


@dataclass(frozen=True, slots=True)
class Cookie:
    """The cookie of a session, as it was sent."""

    value: str


Credential = Bearer | Cookie


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service. `hosts`: names that may stand in the header Host, in lower case, without port."""

    services: Services
    hosts: frozenset[str]
    calls: ThreadPool = field(default_factory=ThreadPool)
    questions: ThreadPool = field(
        default_factory=lambda: ThreadPool(threads=QUESTIONS, queue=0, limit_s=2 * PATIENCE_S)
    )
    queries: ThreadPool = field(
        default_factory=lambda: ThreadPool(threads=QUERIES, queue=0, limit_s=QUERY_S + PATIENCE_S)
    )
    budget: Budget = field(default_factory=Budget)
    counts: Counters = field(default_factory=Counters)
    logins: Budget = field(default_factory=lambda: Budget(per_s=LOGINS_PER_MINUTE / 60, burst=LOGINS_PER_MINUTE))
    site: Site = field(default_factory=Site)
    provider: Provider | None = None
    outside: ThreadPool = field(default_factory=lambda: ThreadPool(threads=4, queue=16, limit_s=OUTSIDE_S))
    pace: Pace = field(default_factory=Pace)
    streams: Watcher = field(init=False)
    last_use: LastUse = field(init=False)

    def __post_init__(self) -> None:
        """There is one watcher for all streams, and one that records the use of tokens and sessions."""
        object.__setattr__(self, "streams", Watcher(self.services, self.pace))
        object.__setattr__(self, "last_use", LastUse(self.services, self.calls))

    async def caller(self, given: Credential, request_id: JobId) -> Caller:
        """The sender of a request. Raises as `identify`, and TOO_MANY_REQUESTS."""
        caller = await self.identify(given, request_id)
        self.budget.spend(caller.principal_id)
        self.last_use.note(caller)
        return caller

    async def identify(self, given: Credential, request_id: JobId) -> Caller:
        """The owner of a token or session, with the rights of this moment; it does not count as used.

        Raises as `authenticate` and `authenticate_session`.
        """
        services = self.services
        match given:
            case Bearer(token):
                return await self.calls.run(
                    lambda: authenticate(services.tokens, token, request_id=request_id, now_ms=now_ms())
                )
            case Cookie(cookie):
                return await self.calls.run(
                    lambda: authenticate_session(services.sessions, cookie, request_id=request_id, now_ms=now_ms())
                )

    def count_login(self, request: Request) -> None:
        """Raises `UserError` TOO_MANY_REQUESTS after too many requests for one step of logins from one address."""
        self.logins.spend(f"{request.url.path} {self.site.address(request.scope)}")

    def identity_provider(self) -> Provider:
        """Raises `UserError` NO_IDENTITY_PROVIDER without one."""
        if self.provider is None:
            raise UserError(
                "NO_IDENTITY_PROVIDER", "no identity provider is configured (settings oidc_...); use a token instead"
            )
        return self.provider

    def close(self) -> None:
        """Start no more calls, and end all streams."""
        self.calls.close()
        self.questions.close()
        self.queries.close()
        self.outside.close()
        self.streams.close()

    def samples(self) -> Iterable[Sample]:
        """Current values of all metrics."""
        return (*self.counts.samples(), *self.streams.samples())


def service_of(request: Request) -> Service:
    """The service that handles a request."""
    service: Service = request.state.service
    return service


async def in_tenant(
    request: Request,
    view: type[ViewT],
    tenant: str,
    method: Callable[Concatenate[ViewT, GivenP], ValueT],
    *given: GivenP.args,
    **named: GivenP.kwargs,
) -> ValueT:
    """What a method of the caller's view of a tenant returns."""
    service, caller = service_of(request), request.state.caller
    return await service.calls.run(lambda: method(view(service.services, caller, tenant), *given, **named))


async def asked_in_tenant(
    request: Request,
    view: type[ViewT],
    tenant: str,
    method: Callable[Concatenate[ViewT, Cancellation, GivenP], ValueT],
    *given: GivenP.args,
    **named: GivenP.kwargs,
) -> ValueT:
    """What readers answer to a method of the caller's view of a tenant."""
    service, caller = service_of(request), request.state.caller

    def call(cancellation: Cancellation) -> ValueT:
        return method(view(service.services, caller, tenant), cancellation, *given, **named)

    return await asked(request, tenant, call)


async def asked_in_deployment(
    request: Request,
    view: type[DeploymentT],
    method: Callable[Concatenate[DeploymentT, Cancellation, GivenP], ValueT],
    *given: GivenP.args,
    **named: GivenP.kwargs,
) -> ValueT:
    """What readers answer to a method of the caller's view of the deployment."""
    service, caller = service_of(request), request.state.caller

    def call(cancellation: Cancellation) -> ValueT:
        return method(view(service.services, caller), cancellation, *given, **named)

    return await asked(request, "", call)


async def asked(request: Request, tenant: str, call: Callable[[Cancellation], ValueT]) -> ValueT:
    """What readers answer to a call, on behalf of a tenant, or of the deployment ("").

    The question is given up when the client leaves, or when load balancers would give up before the answer.
    """
    cancellation, loop = Cancellation(), asyncio.get_running_loop()

    def run() -> ValueT:
        with cancellation:
            return call(cancellation)

    late = loop.call_later(PATIENCE_S, cancellation.set, _late())
    watch = watching(request, cancellation)
    try:
        return await service_of(request).questions.run(run, tenant=tenant)
    finally:
        late.cancel()
        watch.cancel()
        cancellation.set(client_gone())  # the service no longer waits for it


def watching(request: Request, cancellation: Cancellation) -> "asyncio.Task[None]":
    """Gives a question up when its client goes, or may no longer ask it. Cancel it at the end of the question."""
    return asyncio.ensure_future(_watch(request, cancellation))


async def _watch(request: Request, cancellation: Cancellation) -> None:
    await asyncio.gather(_until_gone(request, cancellation), _until_refused(request, cancellation))


async def _until_gone(request: Request, cancellation: Cancellation) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    cancellation.set(client_gone())


async def _until_refused(request: Request, cancellation: Cancellation) -> None:
    """As event streams: an outage of the catalog ends what could not be checked for twice the usual time."""
    service, caller = service_of(request), request.state.caller
    checked_at = time.monotonic()
    while True:
        await asyncio.sleep(service.pace.question_check_s)
        try:
            await service.calls.run(lambda: check_again(service.services, caller))
            checked_at = time.monotonic()
        except RetriableError as exc:
            if time.monotonic() - checked_at > 2 * service.pace.check_s:
                return cancellation.set(exc)
        except MusterError as exc:
            return cancellation.set(exc)


def client_gone() -> RetriableError:
    """Nobody waits for the answer any more."""
    return RetriableError("CLIENT_GONE", "the client has gone before its answer")


def _late() -> RetriableError:
    return RetriableError("QUESTION_TIMEOUT", f"the answer took longer than {PATIENCE_S:g} s; try again")


async def in_deployment_view(
    request: Request,
    view: type[DeploymentT],
    method: Callable[Concatenate[DeploymentT, GivenP], ValueT],
    *given: GivenP.args,
    **named: GivenP.kwargs,
) -> ValueT:
    """What a method of one of the caller's views of the deployment returns."""
    service, caller = service_of(request), request.state.caller
    return await service.calls.run(lambda: method(view(service.services, caller), *given, **named))
