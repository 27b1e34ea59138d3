"""Login, choice of tenant and language; and static files."""

from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.console_codes import owner_of_code, redeem_console_code
from orchestration.access.views.account import Account
from orchestration.api.csrf import check_same_origin
from orchestration.api.own_paths import own_path
from orchestration.api.routes.login import logged_in, session_of
from orchestration.api.service import in_deployment_view, service_of
from orchestration.console import assets
from orchestration.console.context import ask
from orchestration.console.forms import form_of
from orchestration.console.frame import HOME, THEMES, bare_frame, language_cookie, theme_cookie
from orchestration.console.language import LANGUAGES
from orchestration.console.paths import LOGIN, OPEN, PREFERENCES, PREFIX, STATIC, in_tenant
from orchestration.console.rendering import see_other, shown
from orchestration.platform.clock import now_ms
from schemas.errors import UserError

YEAR_S: Final = 365 * 24 * 3600
DEFAULT: Final = "default"
LOGOUT: Final = f"{PREFIX}/logout"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginPage:
    """`provider`: whether people can log in here; `return_to`: the page that they wanted."""

    provider: bool
    return_to: str
    ended: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPage:
    """Asks whether to open the console. `principal`: whose session it will be."""

    principal: str
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoTenantPage:
    """For those without a right in any tenant."""

    principal: str


async def log_in(request: Request) -> Response:
    """How to get in."""
    try:
        to = own_path(request.query_params.get("return_to", PREFIX))
    except UserError:
        to = PREFIX
    page = LoginPage(
        provider=service_of(request).provider is not None, return_to=to, ended="ended" in request.query_params
    )
    return shown("login.html", bare_frame(request), page)


async def confirm_opening(request: Request) -> Response:
    """Ask whether to begin a session with a code: a page of another site could lead to a session of its author."""
    service, code = service_of(request), request.query_params.get("code", "")
    service.count_login(request)
    owner = await service.calls.run(lambda: owner_of_code(service.services, code, now_ms=now_ms()))
    return shown("open.html", bare_frame(request), OpenPage(principal=owner.name, code=code))


async def open_with_code(request: Request) -> Response:
    """Begin a session with a code, if our own page asks for it."""
    service = service_of(request)
    own = service.site.origin(request.headers["host"])
    sent = {name: request.headers.getlist(name) for name in ("sec-fetch-site", "origin")}
    check_same_origin(request.method, site=sent["sec-fetch-site"], origin=sent["origin"], own=own)
    service.count_login(request)
    code, request_id, replaced = (await form_of(request)).get("code", ""), request.state.request_id, session_of(request)
    cookie = await service.calls.run(
        lambda: redeem_console_code(service.services, code, replaced=replaced, request_id=request_id, now_ms=now_ms())
    )
    return logged_in(request, cookie, PREFIX)


async def log_out(request: Request) -> Response:
    """End the session."""
    await in_deployment_view(request, Account, Account.log_out)
    headers = {"Location": LOGIN, "Set-Cookie": service_of(request).site.no_cookie}
    return Response(status_code=303, headers=headers)


async def root(_: Request) -> Response:
    """People come for the console."""
    return see_other(PREFIX)


async def home(request: Request) -> Response:
    """The overview of a tenant: of `default` if the reader has a right in it, else of the first one."""
    tenants = await ask(request, lambda context: context.tenants())
    if not tenants:
        page = NoTenantPage(principal=request.state.caller.principal.name)
        return shown("no_tenant.html", bare_frame(request), page)
    tenant = DEFAULT if DEFAULT in tenants else tenants[0]
    return see_other(in_tenant(tenant, HOME))


async def set_preferences(request: Request) -> Response:
    """Keep a language or a theme in a cookie, and go back."""
    form = await form_of(request)
    if (wanted := form.get("language", "")) in LANGUAGES:
        name = language_cookie(request)
    elif (wanted := form.get("theme", "")) in {"system", *THEMES}:
        name = theme_cookie(request)
    else:
        raise UserError("BAD_BODY", "the form has neither a language nor a theme that exists; load the page again")
    to, site = own_path(form.get("return_to", PREFIX)), service_of(request).site
    cookie = site.cookie(wanted, name=name, seconds=YEAR_S)
    return Response(status_code=303, headers={"Location": to, "Set-Cookie": cookie})


ROUTES: Final = (
    Route("/", root),
    Route(PREFIX, home),
    Route(LOGIN, log_in),
    Route(OPEN, confirm_opening),
    Route(OPEN, open_with_code, methods=["POST"]),
    Route(LOGOUT, log_out, methods=["POST"]),
    Route(PREFERENCES, set_preferences, methods=["POST"]),
    Route(f"{STATIC}{{path:path}}", assets.answer),
)
