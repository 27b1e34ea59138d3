"""Recipients of notifications."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from orchestration.access.bodies import recipients as bodies
from orchestration.access.views.recipients import RecipientsView
from orchestration.api.answers import json_answer, operation_answer
from orchestration.api.operation import operation
from orchestration.api.paging import Named
from orchestration.api.schema import model_of
from orchestration.api.service import in_tenant
from orchestration.records.operations import Operation
from orchestration.records.recipients import Recipients

router = APIRouter(prefix="/tenants/{tenant}", tags=["recipients"])
OF_CHANGES = ("UNKNOWN_AUDIENCE", "BAD_NAME", "BAD_RECIPIENT", "BAD_BODY")


@router.get(
    "/recipients",
    **operation(RecipientsView.recipients, model_of(Recipients), "UNKNOWN_AUDIENCE", "BAD_NAME"),
)
async def list_recipients(request: Request, tenant: str, audience: Named = None) -> Response:
    """Who is notified about an audience, or about all audiences of the tenant."""
    return json_answer(await in_tenant(request, RecipientsView, tenant, lambda view: view.recipients(audience)))


@router.put("/recipients", **operation(RecipientsView.replace_recipients, model_of(Recipients), *OF_CHANGES))
async def replace_recipients(
    request: Request, tenant: str, body: bodies.NewRecipients, audience: Named = None
) -> Response:
    """Replace who is notified about an audience, or about all audiences of the tenant."""
    return await _replaced(request, tenant, audience, body)


@router.patch("/recipients", **operation(RecipientsView.replace_recipients, model_of(Recipients), *OF_CHANGES))
async def change_recipients(
    request: Request, tenant: str, body: bodies.ChangedRecipients, audience: Named = None
) -> Response:
    """Replace who is notified by mail, by webhook, or by both."""
    return await _replaced(request, tenant, audience, body)


@router.post(
    "/recipients/tests",
    **operation(
        RecipientsView.send_test,
        model_of(Operation),
        *("UNKNOWN_AUDIENCE", "UNKNOWN_RECIPIENT", "BAD_NAME", "BAD_BODY", "TOO_MANY_TESTS"),
        status=202,
        headers=["Location"],
    ),
)
async def send_test_notification(
    request: Request, tenant: str, body: bodies.NewTest, audience: Named = None
) -> Response:
    """Send a test notification to a recipient, once; its operation says whether it arrived."""
    begun = await in_tenant(
        request,
        RecipientsView,
        tenant,
        lambda view: view.send_test(audience, channel=body.channel, address=body.address),
    )
    return operation_answer(tenant, begun)


async def _replaced(
    request: Request, tenant: str, audience: str | None, body: bodies.NewRecipients | bodies.ChangedRecipients
) -> Response:
    changed = await in_tenant(
        request,
        RecipientsView,
        tenant,
        lambda view: view.replace_recipients(audience, emails=body.email, webhooks=body.webhook),
    )
    return json_answer(changed)
