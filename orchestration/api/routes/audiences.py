"""Audiences and their versions."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from orchestration.access.problems import OF_THE_LAKE
from orchestration.access.revisions import AUDIENCE, revision_of
from orchestration.access.views.audience_changes import AudienceChangesView, WantedRecipients
from orchestration.access.views.audiences import AudiencesView
from orchestration.api.answers import json_answer
from orchestration.api.etags import IfMatch, etag, seen_revision
from orchestration.api.models import audiences as models
from orchestration.api.operation import OF_TAGS, operation
from orchestration.api.paging import DEFAULT_LIMIT, Cursor, Limit, page_answer, start
from orchestration.api.service import in_tenant

router = APIRouter(prefix="/tenants/{tenant}", tags=["audiences"])
Number = Annotated[int, Path(ge=1, le=2**31 - 1)]
CURRENT_AT_ONCE: Final = 50
"""One object is read for each; a call has 10 s."""
Kind = Literal["events", "profiles"]
WithCurrent = Annotated[bool, Query(description="Also the current version, which is read from the lake.")]
OF_SETTINGS: Final = ("BAD_NAME", "BAD_SPEC", "BAD_COLUMN", "BAD_RETENTION", "BAD_BODY")


@router.get("/audiences", **operation(AudiencesView.audiences, models.AudiencePage, "BAD_CURSOR", *OF_THE_LAKE))
async def list_audiences(
    request: Request,
    tenant: str,
    current: WithCurrent = False,  # noqa: FBT002  # a query parameter
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """Audiences by name. With `current`, at most 50 at once."""
    after, most = start(request, cursor) or "", min(limit, CURRENT_AT_ONCE) if current else limit
    page = await in_tenant(
        request, AudiencesView, tenant, lambda view: view.audiences(after=after, limit=most, current=current)
    )
    return page_answer(request, page)


@router.get(
    "/audiences/{audience}",
    **operation(
        AudiencesView.audience, models.Audience, "UNKNOWN_AUDIENCE", "BAD_NAME", *OF_THE_LAKE, headers=["ETag"]
    ),
)
async def get_audience(
    request: Request,
    tenant: str,
    audience: str,
    current: WithCurrent = False,  # noqa: FBT002  # a query parameter
) -> Response:
    """An audience: how its files are read, and which versions are kept. With `current` also where its table is."""
    method = AudiencesView.audience_with_current if current else AudiencesView.audience
    record, revision = await in_tenant(request, AudiencesView, tenant, lambda view: method(view, audience))
    return json_answer(record, headers={"ETag": etag(revision)})


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
    changes, retention = body.settings.changes(), body.retention.edits()
    made = await in_tenant(
        request, AudienceChangesView, tenant, lambda view: view.create_audience(body.audience, changes, retention)
    )
    return _tagged(made, 201)


@router.patch(
    "/audiences/{audience}",
    **operation(
        AudienceChangesView.configure_audience,
        models.ConfiguredAudience,
        *OF_SETTINGS,
        *OF_TAGS,
        *OF_THE_LAKE,
        "UNKNOWN_AUDIENCE",
        "NO_SUCH_COLUMN",
        "COLUMNS_WOULD_CHANGE",
        "BAD_RECIPIENT",
        headers=["ETag"],
    ),
)
async def configure_audience(
    request: Request, tenant: str, audience: str, body: models.AudienceChange, if_match: IfMatch = None
) -> Response:
    """Change how files are read, which versions are kept, who is notified. Running jobs keep their settings."""
    seen, changes, retention = seen_revision(if_match), body.settings.edits(), body.retention.edits()
    wanted = WantedRecipients(email=body.recipients.email, webhook=body.recipients.webhook)
    changed = await in_tenant(
        request,
        AudienceChangesView,
        tenant,
        lambda view: view.configure_audience(audience, changes, retention, wanted, seen=seen),
    )
    return _tagged(changed)


@router.get("/activity/{kind}", **operation(AudiencesView.activity, models.Activity))
async def get_activity(request: Request, tenant: str, kind: Kind) -> Response:
    """How files of events or profiles are read."""
    return json_answer(await in_tenant(request, AudiencesView, tenant, lambda view: view.activity(kind)))


@router.patch(
    "/activity/{kind}",
    **operation(AudienceChangesView.configure_activity, models.Activity, *OF_SETTINGS, "COLUMNS_WOULD_CHANGE"),
)
async def configure_activity(request: Request, tenant: str, kind: Kind, body: models.ActivityChange) -> Response:
    """Change how files of events or profiles are read. Running jobs keep their settings."""
    changes = body.settings.edits()
    return json_answer(
        await in_tenant(request, AudienceChangesView, tenant, lambda view: view.configure_activity(kind, changes))
    )


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
