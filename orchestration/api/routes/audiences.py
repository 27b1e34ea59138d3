"""Audiences and their versions."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from orchestration.access.revisions import AUDIENCE, revision_of
from orchestration.access.views.audience_changes import AudienceChangesView
from orchestration.access.views.audiences import AudiencesView
from orchestration.api.answers import json_answer
from orchestration.api.etags import IfMatch, etag, seen_revision
from orchestration.api.models import audiences as models
from orchestration.api.operation import OF_TAGS, OF_THE_LAKE, operation
from orchestration.api.paging import DEFAULT_LIMIT, Cursor, Limit, page_answer, start
from orchestration.api.service import in_tenant

router = APIRouter(prefix="/tenants/{tenant}", tags=["audiences"])
Number = Annotated[int, Path(ge=1, le=2**31 - 1)]
OF_SETTINGS: Final = ("BAD_NAME", "BAD_SPEC", "BAD_COLUMN", "BAD_RETENTION", "BAD_BODY")


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
    **operation(AudiencesView.audience, models.Audience, "UNKNOWN_AUDIENCE", "BAD_NAME", headers=["ETag"]),
)
async def get_audience(request: Request, tenant: str, audience: str) -> Response:
    """An audience: how its files are read, and which versions are kept."""
    return _tagged(await in_tenant(request, AudiencesView, tenant, lambda view: view.audience(audience)))


@router.post(
    "/audiences",
    **operation(
        AudienceChangesView.create_audience,
        models.Audience,
        *OF_SETTINGS,
        "AUDIENCE_EXISTS",
        "NAME_TAKEN",
        status=201,
        headers=["ETag"],
    ),
)
async def create_audience(request: Request, tenant: str, body: models.NewAudience) -> Response:
    """Create an audience. An import into a missing audience also creates it, once its version is published."""
    changes, retention = body.settings.changes(), body.retention.changes()
    made = await in_tenant(
        request, AudienceChangesView, tenant, lambda view: view.create_audience(body.audience, changes, retention)
    )
    return _tagged(made, 201)


@router.patch(
    "/audiences/{audience}",
    **operation(
        AudienceChangesView.configure_audience,
        models.Audience,
        *OF_SETTINGS,
        *OF_TAGS,
        *OF_THE_LAKE,
        "UNKNOWN_AUDIENCE",
        "NO_SUCH_COLUMN",
        "COLUMNS_WOULD_CHANGE",
        headers=["ETag"],
    ),
)
async def configure_audience(
    request: Request, tenant: str, audience: str, body: models.AudienceChange, if_match: IfMatch = None
) -> Response:
    """Change how the files of an audience are read, and which versions are kept. Running jobs keep their settings."""
    seen, changes, retention = seen_revision(if_match), body.settings.changes(), body.retention.changes()
    changed = await in_tenant(
        request,
        AudienceChangesView,
        tenant,
        lambda view: view.configure_audience(audience, changes, retention, seen=seen),
    )
    return _tagged(changed)


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
async def get_version(request: Request, tenant: str, audience: str, version: Number) -> Response:
    """One kept version of an audience."""
    return json_answer(await in_tenant(request, AudiencesView, tenant, lambda view: view.version(audience, version)))


@router.put(
    "/audiences/{audience}/versions/{version}/pin",
    **operation(AudienceChangesView.pin, models.Pin, "UNKNOWN_AUDIENCE", "BAD_NAME", "NO_SUCH_VERSION", *OF_THE_LAKE),
)
async def pin_version(request: Request, tenant: str, audience: str, version: Number) -> Response:
    """Keep a version regardless of retention. No effect on a pinned one."""
    return json_answer(await in_tenant(request, AudienceChangesView, tenant, lambda view: view.pin(audience, version)))


@router.delete(
    "/audiences/{audience}/versions/{version}/pin",
    **operation(AudienceChangesView.unpin, models.Pin, "UNKNOWN_AUDIENCE", "BAD_NAME"),
)
async def unpin_version(request: Request, tenant: str, audience: str, version: Number) -> Response:
    """Subject a version to retention again. No effect on one that is not pinned."""
    return json_answer(
        await in_tenant(request, AudienceChangesView, tenant, lambda view: view.unpin(audience, version))
    )


def _tagged(record: Mapping[str, Any], status: int = 200) -> Response:
    return json_answer(record, status, {"ETag": etag(revision_of(record, AUDIENCE))})
