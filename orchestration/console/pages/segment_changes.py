"""Pause, resume, snapshot and delete a segment: each a form of its page."""

from typing import Final, Literal, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.bodies.segments import NewSnapshot, SegmentState
from orchestration.access.revisions import Seen
from orchestration.access.views.segments import Segments
from orchestration.console.context import PageContext, ask
from orchestration.console.forms import form_of, key_of
from orchestration.console.paths import IN_TENANT, in_tenant
from orchestration.console.rendering import see_other
from schemas.errors import UserError


async def change_state(request: Request) -> Response:
    """Pause or resume."""
    form, name = await form_of(request), request.path_params["segment"]
    state = form.get("state", "")
    if state not in {"active", "paused"}:
        raise UserError("BAD_BODY", "a segment is active or paused; load the page again")
    wanted = cast(Literal["active", "paused"], state)

    def call(context: PageContext) -> Response:
        context.view(Segments).change_segment_state(name, SegmentState(state=wanted))
        return see_other(in_tenant(context.tenant, "segments", name))

    return await ask(request, call)


async def take_snapshot(request: Request) -> Response:
    """Start a snapshot, and go to its job."""
    form, name = await form_of(request), request.path_params["segment"]
    key = key_of(request, form)

    def call(context: PageContext) -> Response:
        started = context.view(Segments).snapshot_segment(
            name, NewSnapshot(audience=form.get("audience") or None, allow_shrink="allow_shrink" in form), key=key
        )
        return see_other(in_tenant(context.tenant, "jobs", started.job, started="1"))

    return await ask(request, call)


async def delete(request: Request) -> Response:
    """Delete it, once its name has been typed."""
    form, name = await form_of(request), request.path_params["segment"]

    def call(context: PageContext) -> Response:
        context.view(Segments).get_segment(name)
        if form.get("confirm", "").strip() != name:
            raise UserError("NOT_CONFIRMED", "type the name of the segment to delete it; nothing was deleted")
        context.view(Segments).delete_segment(name, seen=Seen(form.get("seen", "")))
        return see_other(in_tenant(context.tenant, "segments"))

    return await ask(request, call)


ROUTES: Final = (
    Route(f"{IN_TENANT}/segments/{{segment}}/state", change_state, methods=["POST"]),
    Route(f"{IN_TENANT}/segments/{{segment}}/snapshots", take_snapshot, methods=["POST"]),
    Route(f"{IN_TENANT}/segments/{{segment}}/deletion", delete, methods=["POST"]),
)
