"""The deployment: the caller, tenants, principals, grants, tokens, audit trail, notifications, health."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from muster import __version__
from orchestration.access.bodies.common import GRAPHIC
from orchestration.access.policy import DEPLOYMENT
from orchestration.access.views.connections import ConnectionsView
from orchestration.access.views.deployment import DeploymentView
from orchestration.access.views.principals import PrincipalsView
from orchestration.api.answers import json_answer
from orchestration.api.etags import IfMatch, etag, seen_revision
from orchestration.api.models import access as models
from orchestration.api.models import connections, notifications, places
from orchestration.api.operation import OF_TAGS, operation
from orchestration.api.paging import DEFAULT_LIMIT, Cursor, Limit, page_answer, start
from orchestration.api.routes.administration import GRANT_PROBLEMS, TOKEN_PROBLEMS, AuditJob, Since, milliseconds
from orchestration.api.service import in_deployment, in_deployment_view, service_of
from schemas.ids import JobId

router = APIRouter(tags=["deployment"])


@router.get("/health", **operation(None, models.Health))
async def get_health(request: Request) -> Response:
    """Whether the service and the catalog answer. Public."""
    service = service_of(request)
    await service.calls.run(service.services.check)
    return json_answer({"status": "ok", "version": __version__})


@router.get("/me", **operation(DeploymentView.me, models.Me))
async def get_me(request: Request) -> Response:
    """The caller: principal, token, and rights at this moment."""
    return json_answer(await in_deployment(request, lambda view: view.me()))


@router.get("/tenants", **operation(DeploymentView.tenants, models.TenantPage, "BAD_CURSOR"))
async def list_tenants(request: Request, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> Response:
    """The tenants in which the caller has a right, by name."""
    after = start(request, cursor) or ""
    return page_answer(request, await in_deployment(request, lambda view: view.tenants(after=after, limit=limit)))


@router.post("/tenants", **operation(DeploymentView.create_tenant, models.Tenant, "BAD_NAME", "BAD_BODY", status=201))
async def create_tenant(request: Request, body: models.NewTenant) -> Response:
    """Create a tenant. No effect on one that exists."""
    return json_answer(await in_deployment(request, lambda view: view.create_tenant(body.tenant)), 201)


@router.get("/principals", **operation(DeploymentView.principals, models.PrincipalPage, "BAD_CURSOR"))
async def list_principals(request: Request, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> Response:
    """People and service accounts by name."""
    after = start(request, cursor) or ""
    return page_answer(request, await in_deployment(request, lambda view: view.principals(after=after, limit=limit)))


@router.post(
    "/principals",
    **operation(
        DeploymentView.create_principal, models.Principal, "BAD_PRINCIPAL", "PRINCIPAL_EXISTS", "BAD_BODY", status=201
    ),
)
async def create_principal(request: Request, body: models.NewPrincipal) -> Response:
    """Create a person or a service account without roles."""
    made = await in_deployment(request, lambda view: view.create_principal(name=body.name, kind=body.kind))
    return json_answer(made, 201)


@router.get(
    "/principals/{principal}",
    **operation(PrincipalsView.principal, models.PrincipalDetail, "UNKNOWN_PRINCIPAL", "BAD_JOB_ID"),
)
async def get_principal(request: Request, principal: str) -> Response:
    """A person or a service account, with its roles and tokens."""
    return json_answer(await in_deployment_view(request, PrincipalsView, lambda view: view.principal(principal)))


@router.delete(
    "/principals/{principal}/access",
    **operation(
        PrincipalsView.withdraw_access, models.PrincipalDetail, "UNKNOWN_PRINCIPAL", "BAD_JOB_ID", "LAST_ADMINISTRATOR"
    ),
)
async def withdraw_access(request: Request, principal: str) -> Response:
    """Take all roles from a person or a service account, revoke its tokens and end its sessions.

    Its name stays for the audit trail. Groups of an identity provider grant their roles again at the next login.
    """
    return json_answer(await in_deployment_view(request, PrincipalsView, lambda view: view.withdraw_access(principal)))


@router.get("/grants", **operation(DeploymentView.grants, models.Grants, headers=["ETag"]))
async def get_deployment_grants(request: Request) -> Response:
    """The roles in the deployment."""
    record, revision = await in_deployment(request, lambda view: view.grants())
    return json_answer(record, headers={"ETag": etag(revision)})


@router.put("/grants", **operation(DeploymentView.replace_grants, models.Grants, *GRANT_PROBLEMS, headers=["ETag"]))
async def replace_deployment_grants(request: Request, body: models.WantedGrants, if_match: IfMatch = None) -> Response:
    """Replace all roles in the deployment."""
    seen = seen_revision(if_match)
    items = [(JobId(one.principal), one.roles) for one in body.items]
    record, revision = await in_deployment(request, lambda view: view.replace_grants(items, seen=seen))
    return json_answer(record, headers={"ETag": etag(revision)})


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


@router.get("/audit", **operation(DeploymentView.audit, models.AuditPage, "BAD_CURSOR", "BAD_JOB_ID", "BAD_NAME"))
async def list_whole_audit(
    request: Request,
    tenant: Annotated[str | None, Query(max_length=63, pattern=GRAPHIC)] = None,
    on: Annotated[
        str | None, Query(max_length=512, pattern=GRAPHIC, description="An object, such as acme/vip.")
    ] = None,
    job: AuditJob = None,
    since: Since = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """Who did what in all tenants and in the deployment, newest first."""
    filters = {"tenant": tenant, "on": on, "job": job, "since": since}
    before, since_ms = start(request, cursor, **filters), milliseconds(since)
    page = await in_deployment(
        request,
        lambda view: view.audit(tenant=tenant, object_=on, job=job, since_ms=since_ms, before=before, limit=limit),
    )
    return page_answer(request, page, **filters)


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


@router.get("/tokens", **operation(DeploymentView.tokens, models.TokenPage, "BAD_CURSOR"))
async def list_own_tokens(request: Request, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> Response:
    """The caller's own tokens, newest first."""
    before = start(request, cursor)
    return page_answer(request, await in_deployment(request, lambda view: view.tokens(before=before, limit=limit)))


@router.post("/tokens", **operation(DeploymentView.create_token, models.MadeToken, *TOKEN_PROBLEMS, status=201))
async def create_own_token(request: Request, body: models.NewToken) -> Response:
    """Make a token of the caller, across tenants. Its secret is shown this once."""
    cap = {(DEPLOYMENT, role) for role in body.deployment}
    cap |= {(tenant, role) for tenant, roles in body.tenants.items() for role in roles}
    record, secret = await in_deployment(
        request, lambda view: view.create_token(name=body.name, cap=cap, days=body.days)
    )
    return json_answer({**record, "secret": secret.text.reveal()}, 201)


@router.delete("/tokens/{token}", **operation(DeploymentView.revoke_token, models.Token, "UNKNOWN_TOKEN", "BAD_JOB_ID"))
async def revoke_own_token(request: Request, token: str) -> Response:
    """Revoke a token of the caller; an administrator of the deployment revokes any."""
    return json_answer(await in_deployment(request, lambda view: view.revoke_token(token)))
