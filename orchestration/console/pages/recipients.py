"""Who is notified in a tenant when jobs end, and test notifications."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.bodies.recipients import ChangedRecipients, NewTest
from orchestration.access.views.audiences import Audiences
from orchestration.access.views.operations import Operations
from orchestration.access.views.recipients import Recipients
from orchestration.console.context import PageContext, ask
from orchestration.console.faults import Fault, fault_of
from orchestration.console.forms import form_of
from orchestration.console.frame import Frame, bare_frame, frame_of
from orchestration.console.paths import IN_TENANT, in_tenant
from orchestration.console.rendering import see_other, shown
from orchestration.records.operations import Operation
from schemas.errors import UserError

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
    test_path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TestPart:
    """The result of a test notification. `running_path`: where to ask again; None once it has ended."""

    running_path: str | None
    webhook: bool
    delivered_at: str | None
    fault: Fault | None


async def show_recipients(request: Request) -> Response:
    """The page, of notices about one audience, or about all of the tenant."""
    audience = request.query_params.get("audience", "")

    def call(context: PageContext) -> Response:
        found = context.view(Recipients).list_recipients(audience=audience or None)
        known = context.view(Audiences).list_audiences(limit=AUDIENCES).items
        page = RecipientsPage(
            audience=audience,
            audiences=[one.audience for one in known],
            emails=[one.address for one in found.items if one.channel == "email"],
            webhooks=[one.address for one in found.items if one.channel == "webhook"],
            warnings=found.warnings,
            path=in_tenant(context.tenant, "recipients"),
            change_path=in_tenant(context.tenant, "recipients", "change"),
            test_path=in_tenant(context.tenant, "recipients", "tests"),
        )
        return shown("recipients.html", frame_of(request, context, "recipients"), page)

    return await ask(request, call)


async def change(request: Request) -> Response:
    """Replace the recipients of one channel, one a line."""
    form = await form_of(request)
    audience = form.get("audience", "")
    given = {name: form[name].split() if name in form else None for name in ("email", "webhook")}

    def call(context: PageContext) -> Response:
        body = ChangedRecipients(email=given["email"], webhook=given["webhook"])
        context.view(Recipients).change_recipients(body, audience=audience or None)
        return see_other(in_tenant(context.tenant, "recipients", audience=audience))

    return await ask(request, call)


async def begin_test(request: Request) -> Response:
    """Send a test notification to one of them."""
    form = await form_of(request)

    def call(context: PageContext) -> Response:
        begun = context.view(Recipients).send_test_notification(
            NewTest(
                channel="webhook" if form.get("channel") == "webhook" else "email", address=form.get("address", "")
            ),
            audience=form.get("audience") or None,
        )
        return _test_part(context, bare_frame(request), begun)

    return await ask(request, call)


async def show_test(request: Request) -> Response:
    """What has come of it."""

    def call(context: PageContext) -> Response:
        found = context.view(Operations).get_operation(request.path_params["operation"])
        if found.kind != "recipient_test":
            raise UserError("UNKNOWN_OPERATION", "this operation is no test notification")
        return _test_part(context, bare_frame(request), found)

    return await ask(request, call)


def _test_part(context: PageContext, frame: Frame, found: Operation) -> Response:
    result = found.result or {}
    part = TestPart(
        running_path=in_tenant(context.tenant, "recipients", "tests", found.operation) if found.running else None,
        webhook=result.get("channel") == "webhook",
        delivered_at=result.get("delivered_at"),
        fault=fault_of(found.error, frame.texts),
    )
    return shown("parts/recipient_test.html", frame, part)


ROUTES: Final = (
    Route(f"{IN_TENANT}/recipients", show_recipients),
    Route(f"{IN_TENANT}/recipients/change", change, methods=["POST"]),
    Route(f"{IN_TENANT}/recipients/tests", begin_test, methods=["POST"]),
    Route(f"{IN_TENANT}/recipients/tests/{{operation}}", show_test),
)
