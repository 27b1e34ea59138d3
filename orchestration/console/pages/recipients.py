"""Who is notified in a tenant when jobs end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.views.audiences import AudiencesView
from orchestration.access.views.recipients import RecipientsView
from orchestration.console.desk import Desk, ask
from orchestration.console.forms import form_of
from orchestration.console.frame import frame_of
from orchestration.console.paths import IN_TENANT, in_tenant
from orchestration.console.rendering import see_other, shown

AUDIENCES: Final = 500
"""In the choice. Addresses reach the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientsPage:
    """`webhooks`: without their queries, which may be secrets: so they are replaced as a whole, and never edited."""

    audience: str
    audiences: Sequence[str]
    emails: Sequence[str]
    webhooks: Sequence[str]
    warnings: Sequence[str]
    path: str
    change_path: str


async def show_recipients(request: Request) -> Response:
    """The page, of notices about one audience, or about all of the tenant."""
    audience = request.query_params.get("audience", "")

    def call(desk: Desk) -> Response:
        found = desk.view(RecipientsView).recipients(audience or None)
        known = desk.view(AudiencesView).audiences(limit=AUDIENCES).items
        page = RecipientsPage(
            audience=audience,
            audiences=[one["audience"] for one in known],
            emails=[one["address"] for one in found["items"] if one["channel"] == "email"],
            webhooks=[one["address"] for one in found["items"] if one["channel"] == "webhook"],
            warnings=found["warnings"],
            path=in_tenant(desk.tenant, "recipients"),
            change_path=in_tenant(desk.tenant, "recipients", "change"),
        )
        return shown("recipients.html", frame_of(request, desk, "recipients"), page)

    return await ask(request, call)


async def change(request: Request) -> Response:
    """Replace those of one channel: a line each."""
    form = await form_of(request)
    audience = form.get("audience", "")
    given = {name: form[name].split() if name in form else None for name in ("email", "webhook")}

    def call(desk: Desk) -> Response:
        view = desk.view(RecipientsView)
        view.replace_recipients(audience or None, emails=given["email"], webhooks=given["webhook"])
        return see_other(in_tenant(desk.tenant, "recipients", audience=audience))

    return await ask(request, call)


ROUTES: Final = (
    Route(f"{IN_TENANT}/recipients", show_recipients),
    Route(f"{IN_TENANT}/recipients/change", change, methods=["POST"]),
)
