"""How the files of an audience are read, and which versions are kept: a form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.policy import Action
from orchestration.access.revisions import Seen
from orchestration.access.views.audiences import Audiences
from orchestration.console.audience_settings import FOLDERS, FORMATS, MODES, SettingsForm, change_of
from orchestration.console.context import PageContext, ask
from orchestration.console.forms import form_of
from orchestration.console.frame import frame_of
from orchestration.console.paths import IN_TENANT, in_tenant
from orchestration.console.rendering import see_other, shown
from schemas.text_form import DELIMITER_NAMES, ENCODING_LABELS, Delimiter, TextEncoding


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsPage:
    """The form. `seen`: the revision of the audience."""

    audience: str
    audience_path: str
    path: str
    seen: str
    form: SettingsForm
    modes: Sequence[str] = MODES
    formats: Sequence[str] = FORMATS
    folders: Sequence[str] = FOLDERS

    @property
    def delimiters(self) -> Mapping[str, Delimiter]:
        """The delimiters that are read, by their names."""
        return DELIMITER_NAMES

    @property
    def encodings(self) -> Mapping[TextEncoding, str]:
        """The encodings that are read, with their labels."""
        return ENCODING_LABELS


async def show_settings(request: Request) -> Response:
    """The form with the settings as they are."""
    name = request.path_params["audience"]

    def call(context: PageContext) -> Response:
        frame, view, tenant = frame_of(request, context, "audiences"), context.view(Audiences), context.tenant
        view.require(Action.MANAGE_AUDIENCES)
        found = view.get_audience(name)
        page = SettingsPage(
            audience=name,
            audience_path=in_tenant(tenant, "audiences", name),
            path=in_tenant(tenant, "audiences", name, "settings"),
            seen=found.revision,
            form=SettingsForm.of(found.record),
        )
        return shown("audience_settings.html", frame, page)

    return await ask(request, call)


async def change_settings(request: Request) -> Response:
    """Keep what the form has."""
    form, name = await form_of(request), request.path_params["audience"]

    def call(context: PageContext) -> Response:
        view = context.view(Audiences)
        view.require(Action.MANAGE_AUDIENCES)
        change = change_of(form, SettingsForm.of(view.get_audience(name).record))
        view.configure_audience(name, change, seen=Seen(form.get("seen", "")))
        return see_other(in_tenant(context.tenant, "audiences", name))

    return await ask(request, call)


ROUTES: Final = (
    Route(f"{IN_TENANT}/audiences/{{audience}}/settings", show_settings),
    Route(f"{IN_TENANT}/audiences/{{audience}}/settings", change_settings, methods=["POST"]),
)
