"""The event stream of a browser: what all its pages show, from any tenants, since browsers open few connections."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.topics import Topic
from orchestration.access.views.events import DeploymentEvents, Events
from orchestration.api.routes.events import event_stream
from orchestration.api.streams.board import event
from orchestration.console.context import PageContext, ask
from orchestration.console.paths import PREFIX
from schemas.errors import UserError

MOST: Final = 64
"""Sources of one stream, in an address of some KiB. Pages whose source is left out say that they are not live."""
SEPARATOR: Final = "/"


def live(*parts: str) -> str:
    """A source as pages ask for it: a tenant ("": the deployment), a kind of things, and the id of one job."""
    return SEPARATOR.join(parts)


async def stream_events(request: Request) -> Response:
    """The events of all sources that the reader may see. The first one, `sources`, says which these are."""
    asked = request.query_params.getlist("of")[:MOST]

    async def permitted() -> dict[str, frozenset[Topic]]:
        return await ask(request, lambda context: _permitted(context, asked))

    async def topics() -> frozenset[Topic]:
        return frozenset[Topic]().union(*(await permitted()).values())

    first = event("sources", {"of": sorted(await permitted())})
    return await event_stream(request, topics, first=first)


def _permitted(context: PageContext, asked: Sequence[str]) -> dict[str, frozenset[Topic]]:
    found = {}
    for one in asked:
        try:
            found[one] = _topics(context, one)
        except UserError:  # other pages stay live
            continue
    return found


def _topics(context: PageContext, source: str) -> frozenset[Topic]:
    """Raises `UserError` as the views of events do, and for a source that no page has."""
    match source.split(SEPARATOR):
        case ["", "lag"]:
            return context.in_deployment(DeploymentEvents).topics(kinds=["lag"])
        case [tenant, "job", job]:
            return replace(context, tenant=tenant).view(Events).topics(job=job)
        case [tenant, "job"]:
            return replace(context, tenant=tenant).view(Events).topics(kinds=["job"])
        case [tenant, "segment"]:
            return replace(context, tenant=tenant).view(Events).topics(kinds=["segment"])
        case _:
            raise UserError("NO_SUCH_PATH", f"there is no source of events {source!r}; load the page again")


ROUTES: Final = (Route(f"{PREFIX}/events", stream_events),)
