"""Grants, tokens and the audit trail of a tenant."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from orchestration.access.bodies.common import GRAPHIC, Moment
from orchestration.access.views.administration import AdministrationView
from orchestration.api.answers import json_answer
from orchestration.api.etags import IfMatch, etag, seen_revision
from orchestration.api.models import access as models
from orchestration.api.operation import operation
from orchestration.api.paging import DEFAULT_LIMIT, Cursor, Limit, page_answer, start
from orchestration.api.service import in_tenant
from schemas.ids import JobId

router = APIRouter(prefix="/tenants/{tenant}", tags=["access"])
GRANT_PROBLEMS = (
    "NO_ETAG",
    "BAD_ETAG",
    "STALE_ETAG",
    "UNKNOWN_ROLE",
    "NO_SUCH_PRINCIPAL",
    "DUPLICATE_PRINCIPAL",
    "LAST_ADMINISTRATOR",
    "BAD_BODY",
)
AuditJob = Annotated[str | None, Query(max_length=26)]
Since = Annotated[Moment | None, Query(description="RFC 3339, with an offset.")]
TOKEN_PROBLEMS = ("UNKNOWN_ROLE", "BAD_NAME", "CAP_EMPTY", "CAP_TOO_WIDE", "BAD_LIFETIME", "BAD_BODY")


@router.get("/grants", **operation(AdministrationView.grants, models.Grants, headers=["ETag"]))
async def get_grants(request: Request, tenant: str) -> Response:
    """The roles in the tenant."""
    record, revision = await in_tenant(request, AdministrationView, tenant, lambda view: view.grants())
    return json_answer(record, headers={"ETag": etag(revision)})


@router.put("/grants", **operation(AdministrationView.replace_grants, models.Grants, *GRANT_PROBLEMS, headers=["ETag"]))
async def replace_grants(
    request: Request, tenant: str, body: models.WantedGrants, if_match: IfMatch = None
) -> Response:
    """Replace all roles in the tenant."""
    seen = seen_revision(if_match)
    items = [(JobId(one.principal), one.roles) for one in body.items]
    record, revision = await in_tenant(
        request, AdministrationView, tenant, lambda view: view.replace_grants(items, seen=seen)
    )
    return json_answer(record, headers={"ETag": etag(revision)})


@router.get("/tokens", **operation(AdministrationView.tokens, models.TokenPage, "BAD_CURSOR"))
async def list_tokens(request: Request, tenant: str, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> Response:
    """Tokens that reach the tenant, newest first: the caller's own, or all for those who manage access."""
    before = start(request, cursor)
    return page_answer(
        request,
        await in_tenant(request, AdministrationView, tenant, lambda view: view.tokens(before=before, limit=limit)),
    )


@router.post(
    "/tokens",
    **operation(AdministrationView.create_token, models.MadeToken, *TOKEN_PROBLEMS, "NO_SUCH_PRINCIPAL", status=201),
)
async def create_token(request: Request, tenant: str, body: models.NewTenantToken) -> Response:
    """Make a token that reaches this tenant alone. Its secret is shown this once."""
    record, secret = await in_tenant(
        request,
        AdministrationView,
        tenant,
        lambda view: view.create_token(name=body.name, roles=body.roles, days=body.days, principal=body.principal),
    )
    return json_answer({**record, "secret": secret.text.reveal()}, 201)


@router.delete(
    "/tokens/{token}", **operation(AdministrationView.revoke_token, models.Token, "UNKNOWN_TOKEN", "BAD_JOB_ID")
)
async def revoke_token(request: Request, tenant: str, token: str) -> Response:
    """Take the tenant from a token, and revoke one that reaches no other."""
    return json_answer(await in_tenant(request, AdministrationView, tenant, lambda view: view.revoke_token(token)))


@router.get("/audit", **operation(AdministrationView.audit, models.AuditPage, "BAD_CURSOR", "BAD_JOB_ID"))
async def list_audit(
    request: Request,
    tenant: str,
    audience: Annotated[str | None, Query(max_length=255, pattern=GRAPHIC)] = None,
    job: AuditJob = None,
    since: Since = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """Who did what in the tenant, newest first."""
    filters = {"audience": audience, "job": job, "since": since}
    before, since_ms = start(request, cursor, **filters), milliseconds(since)
    page = await in_tenant(
        request,
        AdministrationView,
        tenant,
        lambda view: view.audit(audience=audience, job=job, since_ms=since_ms, before=before, limit=limit),
    )
    return page_answer(request, page, **filters)


def milliseconds(moment: datetime | None) -> int:
    """Since 1970; 0 for none."""
    return 0 if moment is None else int(moment.timestamp() * 1000)
