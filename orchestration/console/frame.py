"""The frame of every page: menu, tenants, language."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from starlette.requests import Request

from orchestration.access.policy import Action
from orchestration.api.service import service_of
from orchestration.api.site import Site
from orchestration.console.context import PageContext
from orchestration.console.language import LANGUAGES, Language, Texts, preferred
from orchestration.console.paths import PREFIX, in_tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """An entry of the menu, for those who may take `action`. Its text is `menu.NAME`.

    `settings`: below the heading of settings.
    """

    name: str
    action: Action
    settings: bool = False


THEMES: Final = ("light", "dark")
HOME: Final = "jobs"
"""Where a tenant is entered. From a page of another tenant, the same page: ids of one are unknown in the other."""
SECTIONS: Final = (
    Section(name="jobs", action=Action.READ_JOBS),
    Section(name="audiences", action=Action.READ),
    Section(name="segments", action=Action.READ),
    Section(name="users", action=Action.READ_USERS),
    Section(name="sql", action=Action.READ_USERS),
    Section(name="schedules", action=Action.READ),
    Section(name="upload", action=Action.RUN_JOBS),
    Section(name="connections", action=Action.OWN_ACCOUNT, settings=True),
    Section(name="tokens", action=Action.OWN_ACCOUNT, settings=True),
    Section(name="recipients", action=Action.MANAGE_AUDIENCES, settings=True),
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

    Without a tenant there is no menu.
    """

    texts: Texts
    path: str
    theme: str = ""
    tenant: str = ""
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
    permitted = context.deployment.permitted
    return Frame(
        texts=Texts(language_of(request)),
        path=path_of(request),
        theme=theme_of(request),
        tenant=tenant,
        principal=caller.principal.name,
        menu=_menu(context, section, settings=False),
        settings=_menu(context, section, settings=True),
        deployment=[
            MenuItem(name=one.name, path=f"{PREFIX}/{one.name}", current=not tenant and one.name == section)
            for one in DEPLOYMENT_SECTIONS
            if one.action in permitted
        ],
        tenants=[
            TenantItem(name=name, path=in_tenant(name, section if tenant else HOME), current=name == tenant)
            for name in context.tenants()
        ],
    )


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
