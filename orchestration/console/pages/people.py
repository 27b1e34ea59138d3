"""People and service accounts: their roles and tokens, new accounts, and the end of all access of one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.bodies.access import NewPrincipal
from orchestration.access.policy import DEPLOYMENT_ROLES, TENANT_ROLES
from orchestration.access.views.principals import Principals
from orchestration.access.views.tokens import OwnTokens
from orchestration.console.context import PageContext, ask
from orchestration.console.forms import form_of
from orchestration.console.frame import frame_of
from orchestration.console.language import Texts
from orchestration.console.listing import ListFilter, Wanted, filter_of
from orchestration.console.pages.tokens import TokenRow, token_row
from orchestration.console.paths import PREFIX, in_tenant, next_page, page_start
from orchestration.console.rendering import see_other, shown
from orchestration.records.access import Principal, PrincipalDetail
from schemas.errors import UserError

PATH: Final = f"{PREFIX}/people"
ROWS: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class PeoplePage:
    """People and service accounts."""

    filter: ListFilter
    people: Sequence[Principal]
    path: str
    next_path: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Roles in a tenant, or in the deployment (`tenant` empty), and the page that changes them."""

    tenant: str
    roles: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonPage:
    """One of them. `withdraw_path` None: there is nothing to take away."""

    person: PrincipalDetail
    scopes: Sequence[Scope]
    tokens: Sequence[TokenRow]
    withdraw_path: str | None


async def show_people(request: Request) -> Response:
    """The page."""
    wanted = Wanted.of(request)
    after = page_start(request, **wanted.query) or ""

    def call(context: PageContext) -> Response:
        frame, view = frame_of(request, context, "people"), context.in_deployment(Principals)
        found = view.list_principals(part=wanted.part, order=wanted.order, after=after, limit=ROWS)
        page = PeoplePage(
            filter=filter_of(wanted, PATH, lambda part: view.count_principals(part=part), frame.texts),
            people=found.items,
            path=PATH,
            next_path=next_page(request, found.next, **wanted.query),
        )
        return shown("people.html", frame, page)

    return await ask(request, call)


async def show_person(request: Request) -> Response:
    """The page of one."""
    id_ = request.path_params["principal"]

    def call(context: PageContext) -> Response:
        frame = frame_of(request, context, "people")
        return shown("person.html", frame, _page(context.in_deployment(Principals).get_principal(id_), frame.texts))

    return await ask(request, call)


async def create(request: Request) -> Response:
    """Create one, without roles."""
    form = await form_of(request)
    if (kind := form.get("kind", "")) not in {"person", "service"}:
        raise UserError("BAD_BODY", "the form cannot be read; load the page again")

    def call(context: PageContext) -> Response:
        wanted = NewPrincipal(name=form.get("name", "").strip(), kind="service" if kind == "service" else "person")
        return see_other(f"{PATH}/{context.in_deployment(Principals).create_principal(wanted).principal}")

    return await ask(request, call)


async def withdraw(request: Request) -> Response:
    """Take all access from one."""
    await form_of(request)
    id_ = request.path_params["principal"]

    def call(context: PageContext) -> Response:
        context.in_deployment(Principals).withdraw_access(id_)
        return see_other(f"{PATH}/{id_}")

    return await ask(request, call)


async def revoke(request: Request) -> Response:
    """Revoke a token of one."""
    await form_of(request)

    def call(context: PageContext) -> Response:
        context.in_deployment(OwnTokens).revoke_own_token(request.path_params["token"])
        return see_other(f"{PATH}/{request.path_params['principal']}")

    return await ask(request, call)


def _page(found: PrincipalDetail, t: Texts) -> PersonPage:
    path = f"{PATH}/{found.principal}"
    held = {"": found.deployment, **found.tenants}
    scopes = [
        Scope(
            tenant=tenant,
            roles=", ".join(t(f"role.{one}") for one in (TENANT_ROLES if tenant else DEPLOYMENT_ROLES) if one in roles),
            path=in_tenant(tenant, "grants") if tenant else f"{PREFIX}/grants",
        )
        for tenant, roles in held.items()
        if roles
    ]
    tokens = [
        token_row(one, {"": one.deployment, **one.tenants}, t, f"{path}/tokens/{one.token}/revocation")
        for one in found.tokens
    ]
    ends = bool(scopes) or any(one.revoke_path for one in tokens)
    return PersonPage(
        person=found,
        scopes=scopes,
        tokens=tokens,
        withdraw_path=f"{path}/withdrawal" if ends else None,
    )


ROUTES: Final = (
    Route(PATH, show_people),
    Route(f"{PATH}/new", create, methods=["POST"]),
    Route(f"{PATH}/{{principal}}", show_person),
    Route(f"{PATH}/{{principal}}/withdrawal", withdraw, methods=["POST"]),
    Route(f"{PATH}/{{principal}}/tokens/{{token}}/revocation", revoke, methods=["POST"]),
)
