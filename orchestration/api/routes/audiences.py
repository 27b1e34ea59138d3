"""Audiences and their versions."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from orchestration.access.views.audiences import AudiencesView
from orchestration.api.answers import json_answer
from orchestration.api.models import audiences as models
from orchestration.api.operation import OF_THE_LAKE, operation
from orchestration.api.paging import DEFAULT_LIMIT, Cursor, Limit, page_answer, start
from orchestration.api.service import in_tenant

router = APIRouter(prefix="/tenants/{tenant}", tags=["audiences"])


@router.get("/audiences", **operation(AudiencesView.audiences, models.AudiencePage, "BAD_CURSOR"))
async def list_audiences(
    request: Request, tenant: str, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Response:
    """Audiences by name."""
    after = start(request, cursor) or ""
    return page_answer(
        request, await in_tenant(request, AudiencesView, tenant, lambda view: view.audiences(after=after, limit=limit))
    )


@router.get(
    "/audiences/{audience}",
    **operation(AudiencesView.audience, models.Audience, "UNKNOWN_AUDIENCE", "BAD_NAME"),
)
async def get_audience(request: Request, tenant: str, audience: str) -> Response:
    """An audience: how its files are read, and which versions are kept."""
    return json_answer(await in_tenant(request, AudiencesView, tenant, lambda view: view.audience(audience)))


@router.get(
    "/audiences/{audience}/versions",
    **operation(AudiencesView.versions, models.VersionPage, "UNKNOWN_AUDIENCE", "BAD_NAME", "BAD_CURSOR", *OF_THE_LAKE),
)
async def list_versions(
    request: Request, tenant: str, audience: str, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Response:
    """Kept versions of an audience, newest first."""
    before = start(request, cursor)
    page = await in_tenant(
        request, AudiencesView, tenant, lambda view: view.versions(audience, before=before, limit=limit)
    )
    return page_answer(request, page)


@router.get(
    "/audiences/{audience}/versions/{version}",
    **operation(AudiencesView.version, models.Version, "UNKNOWN_AUDIENCE", "BAD_NAME", "NO_SUCH_VERSION", *OF_THE_LAKE),
)
async def get_version(
    request: Request, tenant: str, audience: str, version: Annotated[int, Path(ge=1, le=2**31 - 1)]
) -> Response:
    """One kept version of an audience."""
    return json_answer(await in_tenant(request, AudiencesView, tenant, lambda view: view.version(audience, version)))
