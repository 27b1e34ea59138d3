"""Who has which role: in a tenant, and in the deployment."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.pages import Record
from orchestration.access.policy import DEPLOYMENT_ROLES, TENANT_ROLES, Action, Role
from orchestration.access.views.administration import AdministrationView
from orchestration.console.desk import Desk, ask
from orchestration.console.forms import form_of
from orchestration.console.frame import frame_of
from orchestration.console.language import Texts
from orchestration.console.paths import IN_TENANT, PREFIX, in_tenant
from orchestration.console.rendering import see_other, shown
from schemas.errors import UserError
from schemas.ids import JobId, job_id

KNOWN: Final = 500
"""Principals to choose from, for those who may list them. Others name one by its id."""
OF_DEPLOYMENT: Final = f"{PREFIX}/grants"


class Grants(Protocol):
    """The grants of a tenant, or of the deployment."""

    def grants(self) -> tuple[Record, str]:
        """The roles, and their revision."""
        ...

    def replace_grants(self, items: Sequence[tuple[JobId, Collection[Role]]], *, seen: str) -> tuple[Record, str]:
        """Replace all roles. Raises `UserError` STALE_ETAG, LAST_ADMINISTRATOR and others."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A principal with its roles. `by_group`: those that its groups at the identity provider have, by their names."""

    id: str
    name: str
    service: bool
    roles: Collection[str]
    by_group: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantsPage:
    """`known`: (id, name) of principals to choose from; None: the reader may not list them."""

    holders: Sequence[Holder]
    roles: Sequence[str]
    revision: str
    path: str
    known: Sequence[tuple[str, str]] | None


def _view(desk: Desk) -> Grants:
    return desk.view(AdministrationView) if desk.tenant else desk.deployment


def _path(tenant: str) -> str:
    return in_tenant(tenant, "grants") if tenant else OF_DEPLOYMENT


async def show_grants(request: Request) -> Response:
    """The page."""

    def call(desk: Desk) -> Response:
        record, revision = _view(desk).grants()
        frame = frame_of(request, desk, "grants")
        held = {one["principal"] for one in record["items"]}
        known = None
        if Action.MANAGE_DEPLOYMENT in desk.deployment.permitted:
            found = desk.deployment.principals(limit=KNOWN).items
            known = [(one["principal"], one["name"]) for one in found if one["principal"] not in held]
        page = GrantsPage(
            holders=[_holder(one, frame.texts) for one in record["items"]],
            roles=TENANT_ROLES if desk.tenant else DEPLOYMENT_ROLES,
            revision=revision,
            path=_path(desk.tenant),
            known=known,
        )
        return shown("grants.html", frame, page)

    return await ask(request, call)


def _holder(record: Record, t: Texts) -> Holder:
    return Holder(
        id=record["principal"],
        name=record["name"],
        service=record["kind"] == "service",
        roles=frozenset(record["roles"]),
        by_group=[t(f"role.{role}") for role in record["group_roles"]],
    )


async def change(request: Request) -> Response:
    """Replace the roles of one principal; without any, it is removed. The others stay as the page has shown them."""
    form = await form_of(request)
    wanted, seen = form.get("principal", "").strip(), form.get("revision", "")

    def call(desk: Desk) -> Response:
        view = _view(desk)
        record, _ = view.grants()
        held = {one["principal"]: list(one["roles"]) for one in record["items"]}
        roles = [role for role in (TENANT_ROLES if desk.tenant else DEPLOYMENT_ROLES) if f"role_{role}" in form]
        if not roles and wanted not in held:
            raise UserError("NO_ROLE", "choose at least one role")
        held[job_id(wanted)] = roles
        view.replace_grants([(JobId(one), given) for one, given in held.items() if given], seen=seen)
        return see_other(_path(desk.tenant))

    return await ask(request, call)


ROUTES: Final = (
    Route(f"{IN_TENANT}/grants", show_grants),
    Route(f"{IN_TENANT}/grants/change", change, methods=["POST"]),
    Route(OF_DEPLOYMENT, show_grants),
    Route(f"{OF_DEPLOYMENT}/change", change, methods=["POST"]),
)
