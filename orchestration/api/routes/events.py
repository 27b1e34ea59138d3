"""Event streams. Their routes are written by hand, since their answers do not end."""

from collections.abc import Awaitable, Callable, Collection
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from orchestration.access.topics import Topic
from orchestration.access.views.events import DeploymentEvents, Events
from orchestration.api.operation import operation
from orchestration.api.schema import model_of
from orchestration.api.service import in_deployment_view, in_tenant, service_of
from orchestration.api.streams.response import EventStream
from orchestration.records.events import DeploymentEvent, DeploymentEventKind, Event, EventKind
from schemas.errors import UserError

router = APIRouter()


@router.get(
    "/tenants/{tenant}/events",
    tags=["events"],
    **operation(
        Events.topics,
        model_of(Event),
        "UNKNOWN_JOB",
        "BAD_JOB_ID",
        "TWO_FILTERS",
        "TOO_MANY_STREAMS",
        response_class=EventStream,
    ),
)
async def stream_events(
    request: Request,
    tenant: str,
    kind: Annotated[
        list[EventKind] | None, Query(description="Repeatable; default: all kinds that you may see.")
    ] = None,
    job: Annotated[str | None, Query(max_length=26, description="Only this job, with its progress.")] = None,
) -> Response:
    """Server-sent events: the present state of everything, `ready`, then each change; `alive` every 15 s."""
    if job is not None and kind:
        raise UserError("TWO_FILTERS", "kind does not apply to the stream of one job; send one of the two")
    return await event_stream(
        request, lambda: in_tenant(request, Events, tenant, Events.topics, kinds=kind or (), job=job)
    )


@router.get(
    "/events",
    tags=["workers"],
    **operation(DeploymentEvents.topics, model_of(DeploymentEvent), "TOO_MANY_STREAMS", response_class=EventStream),
)
async def stream_deployment_events(
    request: Request,
    kind: Annotated[list[DeploymentEventKind] | None, Query(description="Repeatable; default: all kinds.")] = None,
) -> Response:
    """Like the events of a tenant: workers, their lag every ten seconds, and the jobs of all tenants."""
    return await event_stream(
        request,
        lambda: in_deployment_view(request, DeploymentEvents, DeploymentEvents.topics, kinds=kind or ()),
    )


async def event_stream(
    request: Request, topics: Callable[[], Awaitable[Collection[Topic]]], *, first: bytes = b""
) -> Response:
    """A stream of the topics that the caller may see, which are checked again while it lasts.

    `first`: its first event.
    """
    service, state = service_of(request), request.state

    async def check() -> Collection[Topic]:
        state.caller = await state.identify()
        return await topics()

    return EventStream(
        service.streams,
        await topics(),
        check,
        principal=state.caller.principal_id,
        request_id=state.request_id,
        first=first,
    )
