"""Who has which role: in a tenant, and in the deployment."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.bodies.access import WantedGrant, WantedGrants
from orchestration.access.policy import DEPLOYMENT_ROLES, TENANT_ROLES, Action
from orchestration.access.revisions import Seen, revision_of
from orchestration.access.views.grants import DeploymentGrants, TenantGrants
from orchestration.access.views.principals import Principals
from orchestration.console.context import PageContext, ask
from orchestration.console.forms import form_of
from orchestration.console.frame import frame_of
from orchestration.console.paths import IN_TENANT, PREFIX, in_tenant
from orchestration.console.rendering import see_other, shown
from orchestration.records.access import Grant, Grants, Principal
from schemas.errors import UserError
from schemas.ids import job_id

KNOWN: Final = 500
"""Principals to choose from, for those who may list them. Others name one by its id."""
OF_DEPLOYMENT: Final = f"{PREFIX}/grants"


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantsPage:
    """`known`: principals to choose from; None: the reader may not list them."""

    grants: Sequence[Grant]
    roles: Sequence[str]
    revision: str
    path: str
    known: Sequence[Principal] | None


def _grants(context: PageContext) -> Grants:
    if context.tenant:
        return context.view(TenantGrants).get_grants()
    return context.in_deployment(DeploymentGrants).get_deployment_grants()


def _path(tenant: str) -> str:
    return in_tenant(tenant, "grants") if tenant else OF_DEPLOYMENT


async def show_grants(request: Request) -> Response:
    """The page."""

    def call(context: PageContext) -> Response:
        found = _grants(context)
        frame = frame_of(request, context, "grants")
        held = {one.principal for one in found.items}
        known = None
        if Action.MANAGE_DEPLOYMENT in context.deployment.permitted:
            listed = context.in_deployment(Principals).list_principals(limit=KNOWN).items
            known = [one for one in listed if one.principal not in held]
        page = GrantsPage(
            grants=found.items,
            roles=TENANT_ROLES if context.tenant else DEPLOYMENT_ROLES,
            revision=revision_of(found, found.revision),
            path=_path(context.tenant),
            known=known,
        )
        return shown("grants.html", frame, page)

    return await ask(request, call)


async def change(request: Request) -> Response:
    """Replace the roles of one principal; without any, it is removed. The others stay as the page has shown them."""
    form = await form_of(request)
    wanted, seen = form.get("principal", "").strip(), Seen(form.get("revision", ""))

    def call(context: PageContext) -> Response:
        held = {one.principal: list(one.roles) for one in _grants(context).items}
        roles = [role for role in (TENANT_ROLES if context.tenant else DEPLOYMENT_ROLES) if f"role_{role}" in form]
        if not roles and wanted not in held:
            raise UserError("NO_ROLE", "choose at least one role")
        held[job_id(wanted)] = roles
        body = WantedGrants(items=[WantedGrant(principal=one, roles=given) for one, given in held.items() if given])
        if context.tenant:
            context.view(TenantGrants).replace_grants(body, seen=seen)
        else:
            context.in_deployment(DeploymentGrants).replace_deployment_grants(body, seen=seen)
        return see_other(_path(context.tenant))

    return await ask(request, call)


ROUTES: Final = (
    Route(f"{IN_TENANT}/grants", show_grants),
    Route(f"{IN_TENANT}/grants/change", change, methods=["POST"]),
    Route(OF_DEPLOYMENT, show_grants),
    Route(f"{OF_DEPLOYMENT}/change", change, methods=["POST"]),
)
