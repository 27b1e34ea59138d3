"""Event streams."""

from collections.abc import Awaitable, Callable, Collection
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from orchestration.access.topics import Topic
from orchestration.access.views.events import EventsView
from orchestration.api.models.events import Event, EventKind
from orchestration.api.operation import operation
from orchestration.api.service import in_tenant, service_of
from orchestration.api.streams.response import EventStream
from schemas.errors import UserError

router = APIRouter(prefix="/tenants/{tenant}", tags=["events"])


@router.get(
    "/events",
    **operation(
        EventsView.topics,
        Event,
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
        request,
        lambda: in_tenant(request, EventsView, tenant, lambda view: view.topics(kinds=kind or (), job=job)),
    )


async def event_stream(request: Request, topics: Callable[[], Awaitable[Collection[Topic]]]) -> Response:
    """A stream of the topics that the caller may see, which are checked again while it lasts."""
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
    )
