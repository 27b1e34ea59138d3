"""The consent policy of a tenant: whose members its exports leave out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.bodies.consent import ConsentList, NewConsent
from orchestration.access.policy import Action
from orchestration.access.revisions import Seen, revision_of
from orchestration.access.views.audiences import Audiences
from orchestration.access.views.consent import Consent
from orchestration.console.context import PageContext, ask
from orchestration.console.forms import form_of
from orchestration.console.frame import frame_of
from orchestration.console.paths import IN_TENANT, in_tenant
from orchestration.console.rendering import see_other, shown
from orchestration.records import consent as records
from schemas.records import as_record

AUDIENCES: Final = 500
"""In the choice. Commands reach the others."""
HOUR_S: Final = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentPage:
    """The entries of the policy, and the audiences that can be lists."""

    policy: int
    items: Sequence[records.ConsentList]
    revision: str
    may_change: bool
    audiences: Sequence[str]
    change_path: str


async def show_consent(request: Request) -> Response:
    """The page."""

    def call(context: PageContext) -> Response:
        found, may_change = context.view(Consent).get_consent(), context.may(Action.MANAGE_AUDIENCES)
        known = context.view(Audiences).list_audiences(limit=AUDIENCES).items if may_change else ()
        page = ConsentPage(
            policy=found.policy,
            items=found.items,
            revision=revision_of(found, found.revision),
            may_change=may_change,
            audiences=[one.audience for one in known],
            change_path=in_tenant(context.tenant, "consent", "change"),
        )
        return shown("consent.html", frame_of(request, context, "consent"), page)

    return await ask(request, call)


async def change(request: Request) -> Response:
    """Add an entry, or remove one: `remove` has its number on the page."""
    form = await form_of(request)

    def call(context: PageContext) -> Response:
        view = context.view(Consent)
        items: list[dict[str, Any]] = [as_record(one) for one in view.get_consent().items]
        if (number := form.get("remove", "")).isdecimal():
            items = [one for at, one in enumerate(items) if at != int(number)]
        else:
            hours = form.get("hours", "")
            items.append(
                {
                    "audience": form.get("audience", ""),
                    "destination": form.get("destination") or None,
                    "max_age_s": int(hours) * HOUR_S if hours.isdecimal() else None,
                    "exempt": "exempt" in form,
                }
            )
        body = NewConsent(items=[ConsentList(**one) for one in items])
        view.replace_consent(body, seen=Seen(form.get("revision", "")))
        return see_other(in_tenant(context.tenant, "consent"))

    return await ask(request, call)


ROUTES: Final = (
    Route(f"{IN_TENANT}/consent", show_consent),
    Route(f"{IN_TENANT}/consent/change", change, methods=["POST"]),
)
