"""The frame of every page: menu, tenants, language."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request

from orchestration.access.policy import Action
from orchestration.api.service import service_of
from orchestration.api.site import Site
from orchestration.console.context import PageContext
from orchestration.console.language import LANGUAGES, Language, Texts, preferred
from orchestration.console.paths import PREFIX, in_tenant
from schemas.ids import DEFAULT_TENANT


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """An entry of the menu, for those who may take `action`. Its text is `menu.NAME`.

    `settings`: below the heading of settings.
    """

    name: str
    action: Action
    settings: bool = False


FROM_TENANT: Final = "from"
THEMES: Final = ("light", "dark")
HOME: Final = "overview"
"""Where a tenant is entered. From a page of another tenant, the same page: ids of one are unknown in the other."""
SECTIONS: Final = (
    Section(name="overview", action=Action.READ_JOBS),
    Section(name="jobs", action=Action.READ_JOBS),
    Section(name="audiences", action=Action.READ),
    Section(name="segments", action=Action.READ),
    Section(name="users", action=Action.READ_USERS),
    Section(name="sql", action=Action.READ_USERS),
    Section(name="schedules", action=Action.READ),
    Section(name="feeds", action=Action.READ),
    Section(name="upload", action=Action.RUN_JOBS),
    Section(name="connections", action=Action.OWN_ACCOUNT, settings=True),
    Section(name="tokens", action=Action.OWN_ACCOUNT, settings=True),
    Section(name="recipients", action=Action.MANAGE_AUDIENCES, settings=True),
    Section(name="consent", action=Action.READ, settings=True),
    Section(name="grants", action=Action.MANAGE_ACCESS, settings=True),
    Section(name="audit", action=Action.MANAGE_ACCESS, settings=True),
)


DEPLOYMENT_SECTIONS: Final = (
    Section(name="workers", action=Action.READ_DEPLOYMENT),
    Section(name="dead-letters", action=Action.READ_DEPLOYMENT),
    Section(name="notifications", action=Action.READ_DEPLOYMENT),
    Section(name="places", action=Action.MANAGE_DEPLOYMENT),
    Section(name="people", action=Action.MANAGE_DEPLOYMENT),
    Section(name="grants", action=Action.MANAGE_ACCESS),
)
"""Pages of the deployment as a whole, below those of the tenant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MenuItem:
    """An entry of the menu of one page."""

    name: str
    path: str
    current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantItem:
    """A tenant that the reader can go to."""

    name: str
    path: str
    current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """`path`: of the page with its query, to come back to; `theme`: empty: as the system has it.

    `menu_tenant`: whose pages the menu leads to; on pages of the deployment, those that the reader came from.
    """

    texts: Texts
    path: str
    theme: str = ""
    tenant: str = ""
    menu_tenant: str = ""
    search_path: str = ""
    principal: str = ""
    menu: Sequence[MenuItem] = ()
    settings: Sequence[MenuItem] = ()
    deployment: Sequence[MenuItem] = ()
    tenants: Sequence[TenantItem] = ()
    connect: Sequence[str] = field(default=())

    @property
    def language(self) -> Language:
        """The language of the page."""
        return self.texts.language


def language_of(request: Request) -> Language:
    """The language that the reader has chosen, or else the browser's."""
    chosen = Site.value_in(request.headers.getlist("cookie"), language_cookie(request))
    for known in LANGUAGES:
        if chosen == known:
            return known
    return preferred(request.headers.get("accept-language", ""))


def theme_of(request: Request) -> str:
    """The theme that the reader has chosen; empty: follow the system."""
    chosen = Site.value_in(request.headers.getlist("cookie"), theme_cookie(request))
    return chosen if chosen in THEMES else ""


def theme_cookie(request: Request) -> str:
    """The name of the cookie with the theme."""
    return f"{service_of(request).site.cookie_name}-theme"


def language_cookie(request: Request) -> str:
    """The name of the cookie with the language."""
    return f"{service_of(request).site.cookie_name}-language"


def bare_frame(request: Request) -> Frame:
    """The frame of a page without a login."""
    return Frame(texts=Texts(language_of(request)), path=path_of(request), theme=theme_of(request))


def frame_of(request: Request, context: PageContext, section: str) -> Frame:
    """The frame of a page in a tenant, or with no tenant in the path, in the deployment."""
    caller, tenant = request.state.caller, context.tenant
    permitted, known = context.deployment.permitted, context.tenants()
    shown = tenant or _remembered(request, known)
    within = replace(context, tenant=shown)
    return Frame(
        texts=Texts(language_of(request)),
        path=path_of(request),
        theme=theme_of(request),
        tenant=tenant,
        principal=caller.principal.name,
        menu_tenant=shown,
        search_path=in_tenant(shown, "search") if shown and within.may(Action.READ) else "",
        menu=_menu(within, section if tenant else "", settings=False),
        settings=_menu(within, section if tenant else "", settings=True),
        deployment=[
            MenuItem(name=one.name, path=_in_deployment(one.name, shown), current=not tenant and one.name == section)
            for one in DEPLOYMENT_SECTIONS
            if one.action in permitted
        ],
        tenants=[
            TenantItem(name=name, path=in_tenant(name, section if tenant else HOME), current=name == shown)
            for name in known
        ],
    )


def _remembered(request: Request, known: Sequence[str]) -> str:
    """The tenant from which the reader came to a page of the deployment, or else the one that is entered first."""
    asked = request.query_params.get(FROM_TENANT, "")
    return asked if asked in known else DEFAULT_TENANT if DEFAULT_TENANT in known else next(iter(known), "")


def _in_deployment(name: str, tenant: str) -> str:
    path = f"{PREFIX}/{name}"
    return f"{path}?{urlencode({FROM_TENANT: tenant})}" if tenant else path


def _menu(context: PageContext, section: str, *, settings: bool) -> list[MenuItem]:
    return [
        MenuItem(name=one.name, path=in_tenant(context.tenant, one.name), current=one.name == section)
        for one in SECTIONS
        if one.settings == settings and context.tenant and context.may(one.action)
    ]


def path_of(request: Request) -> str:
    """The path of a request with its query."""
    query = request.url.query
    return f"{request.url.path}?{query}" if query else request.url.path
