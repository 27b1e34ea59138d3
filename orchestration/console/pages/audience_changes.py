"""Pins and rollbacks: forms of the page of an audience."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.bodies.operations import Rollback
from orchestration.access.views.audiences import Audiences
from orchestration.access.views.lake_changes import LakeChanges
from orchestration.access.views.versions import Versions
from orchestration.console.context import PageContext, ask
from orchestration.console.forms import form_of, key_of
from orchestration.console.paths import IN_TENANT, in_tenant
from orchestration.console.rendering import see_other
from schemas.errors import UserError


async def set_pin(request: Request) -> Response:
    """Pin a version, or leave it to retention again."""
    form, name, number = await form_of(request), request.path_params["audience"], _number(request)
    wanted = form.get("pinned", "")
    if wanted not in {"yes", "no"}:
        raise UserError("BAD_BODY", "the form cannot be read; load the page again")

    def call(context: PageContext) -> Response:
        view = context.view(Versions)
        if wanted == "yes":
            view.pin_version(name, number)
        else:
            view.unpin_version(name, number)
        return see_other(in_tenant(context.tenant, "audiences", name))

    return await ask(request, call)


async def roll_back(request: Request) -> Response:
    """Publish an older version again, once the name of the audience has been typed."""
    form, name, number = await form_of(request), request.path_params["audience"], _number(request)
    key = key_of(request, form)

    def call(context: PageContext) -> Response:
        context.view(Audiences).get_audience(name)
        if form.get("confirm", "").strip() != name:
            raise UserError("NOT_CONFIRMED", "type the name of the audience to roll it back; nothing was changed")
        started = context.view(LakeChanges).roll_back(
            name, Rollback(version=number, reason=form.get("reason", "")), key=key
        )
        return see_other(in_tenant(context.tenant, "audiences", name, operation=started.operation))

    return await ask(request, call)


def _number(request: Request) -> int:
    text = request.path_params["version"]
    if not text.isdecimal() or len(text) > 9:
        raise UserError("NO_SUCH_VERSION", f"{text[:20]!r} is no number of a version")
    return int(text)


ROUTES: Final = (
    Route(f"{IN_TENANT}/audiences/{{audience}}/versions/{{version}}/pin", set_pin, methods=["POST"]),
    Route(f"{IN_TENANT}/audiences/{{audience}}/versions/{{version}}/rollback", roll_back, methods=["POST"]),
)
