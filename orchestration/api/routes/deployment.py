"""The deployment: health, places, connections, notifications."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from muster import __version__
from orchestration.access.bodies.common import GRAPHIC
from orchestration.access.views.connections import ConnectionsView
from orchestration.access.views.deployment import DeploymentView
from orchestration.api.answers import json_answer
from orchestration.api.etags import IfMatch, etag, seen_revision
from orchestration.api.models import account, connections, notifications, places
from orchestration.api.operation import OF_TAGS, operation
from orchestration.api.paging import DEFAULT_LIMIT
from orchestration.api.service import in_deployment, in_deployment_view, service_of

router = APIRouter(tags=["deployment"])


@router.get("/health", **operation(None, account.Health))
async def get_health(request: Request) -> Response:
    """Whether the service and the catalog answer. Public."""
    service = service_of(request)
    await service.calls.run(service.services.check)
    return json_answer({"status": "ok", "version": __version__})


@router.get("/places", **operation(DeploymentView.places, places.Places, headers=["ETag"]))
async def get_places(request: Request) -> Response:
    """The places of all tenants: what they may name beyond their own."""
    record, revision = await in_deployment(request, lambda view: view.places())
    return json_answer(record, headers={"ETag": etag(revision)})


@router.put(
    "/places",
    **operation(
        DeploymentView.replace_places,
        places.Places,
        *OF_TAGS,
        "BAD_NAME",
        "BAD_PLACE",
        "UNKNOWN_TENANT",
        "BAD_BODY",
        headers=["ETag"],
    ),
)
async def replace_places(request: Request, body: places.Places, if_match: IfMatch = None) -> Response:
    """Replace the places of all tenants. Jobs that run keep theirs; retries and scheduled runs do not."""
    seen, wanted = seen_revision(if_match), {one.tenant: one.places for one in body.items}
    record, revision = await in_deployment(request, lambda view: view.replace_places(wanted, seen=seen))
    return json_answer(record, headers={"ETag": etag(revision)})


@router.get("/connections", **operation(ConnectionsView.connections, connections.Connections, "BAD_NAME"))
async def get_connections(
    request: Request,
    tenant: Annotated[
        str | None, Query(max_length=63, pattern=GRAPHIC, description="Tenant whose audiences the snippets read.")
    ] = None,
) -> Response:
    """Addresses of Kafka, the object store and the lake, and snippets that connect programs; without keys."""
    return json_answer(await in_deployment_view(request, ConnectionsView, lambda view: view.connections(tenant)))


@router.get("/notifications", **operation(DeploymentView.notifications, notifications.Notifications))
async def list_notifications(
    request: Request, limit: Annotated[int, Query(ge=1, le=notifications.MOST)] = DEFAULT_LIMIT
) -> Response:
    """Notifications of all tenants that are waiting or were given up."""
    return json_answer(await in_deployment(request, lambda view: view.notifications(limit=limit)))


@router.post(
    "/notifications/resends",
    **operation(
        DeploymentView.resend_notifications, notifications.Resent, "UNKNOWN_NOTIFICATION", "DELIVERED", "BAD_BODY"
    ),
)
async def resend_notifications(request: Request, body: notifications.NewResend) -> Response:
    """Restart the delivery of notifications."""
    return json_answer(await in_deployment(request, lambda view: view.resend_notifications(body.notifications)))
