"""Reads below `/v1/tenants/{tenant}`: jobs, audiences, segments, schedules, recipients."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from orchestration.access.views import TenantView
from orchestration.api import models, resource_models
from orchestration.api.answers import json_answer
from orchestration.api.operation import operation
from orchestration.api.paging import DEFAULT_LIMIT, Cursor, Limit, page_answer, start
from orchestration.api.service import in_tenant

router = APIRouter(prefix="/tenants/{tenant}")
OF_THE_LAKE = ("S3_UNAVAILABLE", "LAKE_UNAVAILABLE", "LAKE_UNREADABLE")
Named = Annotated[str | None, Query(max_length=255, pattern=models.GRAPHIC)]


@router.get("/jobs", tags=["jobs"], **operation(TenantView.jobs, models.JobPage, "BAD_CURSOR", "UNKNOWN_STATE"))
async def list_jobs(
    request: Request,
    tenant: str,
    kind: Annotated[list[models.JobKind] | None, Query(description="Repeatable; all kinds without it.")] = None,
    audience: Named = None,
    state: Annotated[list[str] | None, Query(max_length=20, description="Repeatable; all states without it.")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """Jobs of all kinds, newest first."""
    filters = {"kind": kind, "audience": audience, "state": state}
    before = start(request, cursor, **filters)
    kinds, states = kind or (), state or ()
    page = await in_tenant(
        request,
        tenant,
        lambda view: view.jobs(kinds=kinds, audience=audience, states=states, before=before, limit=limit),
    )
    return page_answer(request, page, **filters)


@router.get(
    "/jobs/{job}",
    tags=["jobs"],
    **operation(TenantView.job, models.ImportJobDetail | models.ExportJobDetail, "UNKNOWN_JOB", "BAD_JOB_ID"),
)
async def get_job(request: Request, tenant: str, job: str) -> Response:
    """A job with its history and progress. For a duplicate, its original."""
    return json_answer(await in_tenant(request, tenant, lambda view: view.job(job)))


@router.get(
    "/jobs/{job}/receipt",
    tags=["jobs"],
    **operation(TenantView.receipt, models.Receipt, "UNKNOWN_JOB", "BAD_JOB_ID", "NO_RECEIPT"),
)
async def get_receipt(request: Request, tenant: str, job: str) -> Response:
    """The receipt of a READY import or snapshot: its counts add up."""
    return json_answer(await in_tenant(request, tenant, lambda view: view.receipt(job)))


@router.get(
    "/jobs/{job}/rejects",
    tags=["jobs"],
    **operation(TenantView.rejects, models.RejectCounts, "UNKNOWN_JOB", "BAD_JOB_ID", "NO_REJECTS"),
)
async def get_rejects(request: Request, tenant: str, job: str) -> Response:
    """How many rows of a job were rejected, by code."""
    return json_answer(await in_tenant(request, tenant, lambda view: view.rejects(job)))


@router.get(
    "/audiences", tags=["audiences"], **operation(TenantView.audiences, resource_models.AudiencePage, "BAD_CURSOR")
)
async def list_audiences(
    request: Request, tenant: str, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Response:
    """Audiences by name."""
    after = start(request, cursor) or ""
    return page_answer(request, await in_tenant(request, tenant, lambda view: view.audiences(after=after, limit=limit)))


@router.get(
    "/audiences/{audience}",
    tags=["audiences"],
    **operation(TenantView.audience, resource_models.Audience, "UNKNOWN_AUDIENCE", "BAD_NAME"),
)
async def get_audience(request: Request, tenant: str, audience: str) -> Response:
    """An audience: how its files are read, and which versions are kept."""
    return json_answer(await in_tenant(request, tenant, lambda view: view.audience(audience)))


@router.get(
    "/audiences/{audience}/versions",
    tags=["audiences"],
    **operation(
        TenantView.versions, resource_models.VersionPage, "UNKNOWN_AUDIENCE", "BAD_NAME", "BAD_CURSOR", *OF_THE_LAKE
    ),
)
async def list_versions(
    request: Request, tenant: str, audience: str, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Response:
    """Kept versions of an audience, newest first."""
    before = start(request, cursor)
    page = await in_tenant(request, tenant, lambda view: view.versions(audience, before=before, limit=limit))
    return page_answer(request, page)


@router.get(
    "/audiences/{audience}/versions/{version}",
    tags=["audiences"],
    **operation(
        TenantView.version, resource_models.Version, "UNKNOWN_AUDIENCE", "BAD_NAME", "NO_SUCH_VERSION", *OF_THE_LAKE
    ),
)
async def get_version(
    request: Request, tenant: str, audience: str, version: Annotated[int, Path(ge=1, le=2**31 - 1)]
) -> Response:
    """One kept version of an audience."""
    return json_answer(await in_tenant(request, tenant, lambda view: view.version(audience, version)))


@router.get("/segments", tags=["segments"], **operation(TenantView.segments, resource_models.SegmentPage, "BAD_CURSOR"))
async def list_segments(request: Request, tenant: str, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> Response:
    """Segments by name, with their sizes."""
    after = start(request, cursor) or ""
    return page_answer(request, await in_tenant(request, tenant, lambda view: view.segments(after=after, limit=limit)))


@router.get(
    "/segments/{segment}",
    tags=["segments"],
    **operation(TenantView.segment, resource_models.SegmentDetail, "UNKNOWN_SEGMENT", "BAD_NAME"),
)
async def get_segment(request: Request, tenant: str, segment: str) -> Response:
    """A segment with the latest report of each partition."""
    return json_answer(await in_tenant(request, tenant, lambda view: view.segment(segment)))


@router.get(
    "/segments/{segment}/versions",
    tags=["segments"],
    **operation(TenantView.segment_versions, resource_models.RuleVersions, "UNKNOWN_SEGMENT", "BAD_NAME"),
)
async def list_rule_versions(request: Request, tenant: str, segment: str) -> Response:
    """The rules that a segment has had, oldest first."""
    return _items(await in_tenant(request, tenant, lambda view: view.segment_versions(segment)))


@router.get(
    "/schedules", tags=["schedules"], **operation(TenantView.schedules, resource_models.SchedulePage, "BAD_CURSOR")
)
async def list_schedules(
    request: Request, tenant: str, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Response:
    """Schedules by name, with their last runs."""
    after = start(request, cursor) or ""
    return page_answer(request, await in_tenant(request, tenant, lambda view: view.schedules(after=after, limit=limit)))


@router.get(
    "/schedules/{schedule}",
    tags=["schedules"],
    **operation(TenantView.schedule, resource_models.Schedule, "UNKNOWN_SCHEDULE", "BAD_NAME"),
)
async def get_schedule(request: Request, tenant: str, schedule: str) -> Response:
    """A schedule with its last run."""
    return json_answer(await in_tenant(request, tenant, lambda view: view.schedule(schedule)))


@router.get(
    "/recipients",
    tags=["recipients"],
    **operation(TenantView.recipients, resource_models.Recipients, "UNKNOWN_AUDIENCE", "BAD_NAME"),
)
async def list_recipients(request: Request, tenant: str, audience: Named = None) -> Response:
    """Who is notified about an audience, or about all audiences of the tenant."""
    return _items(await in_tenant(request, tenant, lambda view: view.recipients(audience)))


def _items(found: Sequence[object]) -> Response:
    return json_answer({"items": found})
