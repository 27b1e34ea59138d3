"""Tenants, and what each may name beyond its own: buckets, topics, profiles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.bodies import places as bodies
from orchestration.access.bodies.access import NewTenant
from orchestration.access.revisions import Seen, revision_of
from orchestration.access.views.places import Places
from orchestration.access.views.tenants import Tenants
from orchestration.console.context import PageContext, ask
from orchestration.console.forms import form_of
from orchestration.console.frame import frame_of
from orchestration.console.paths import PREFIX
from orchestration.console.rendering import see_other, shown

PATH: Final = f"{PREFIX}/places"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacesPage:
    """The places of each tenant, by its name."""

    tenants: Mapping[str, Sequence[str]]
    revision: str
    change_path: str
    create_path: str


async def show_places(request: Request) -> Response:
    """The page."""

    def call(context: PageContext) -> Response:
        found = context.in_deployment(Places).get_places()
        places = {one.tenant: one.places for one in found.items}
        page = PlacesPage(
            tenants={one: places.get(one, ()) for one in sorted({*places, *context.tenants()})},
            revision=revision_of(found, found.revision),
            change_path=f"{PATH}/change",
            create_path=f"{PATH}/tenants",
        )
        return shown("places.html", frame_of(request, context, "places"), page)

    return await ask(request, call)


async def change(request: Request) -> Response:
    """Replace the places of one tenant, one a line. Those of other tenants stay as the page has shown them."""
    form = await form_of(request)
    tenant, wanted = form.get("tenant", ""), form.get("places", "").split()

    def call(context: PageContext) -> Response:
        view = context.in_deployment(Places)
        places = {one.tenant: list(one.places) for one in view.get_places().items} | {tenant: wanted}
        body = bodies.Places(items=[bodies.TenantPlaces(tenant=name, places=of) for name, of in places.items()])
        view.replace_places(body, seen=Seen(form.get("revision", "")))
        return see_other(PATH)

    return await ask(request, call)


async def create_tenant(request: Request) -> Response:
    """Create a tenant without places."""
    form = await form_of(request)

    def call(context: PageContext) -> Response:
        context.in_deployment(Tenants).create_tenant(NewTenant(tenant=form.get("name", "")))
        return see_other(PATH)

    return await ask(request, call)


ROUTES: Final = (
    Route(PATH, show_places),
    Route(f"{PATH}/change", change, methods=["POST"]),
    Route(f"{PATH}/tenants", create_tenant, methods=["POST"]),
)
