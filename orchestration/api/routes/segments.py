"""Segments."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from orchestration.access.views.segments import SegmentsView
from orchestration.api.answers import items_answer, json_answer
from orchestration.api.models import segments as models
from orchestration.api.operation import operation
from orchestration.api.paging import DEFAULT_LIMIT, Cursor, Limit, page_answer, start
from orchestration.api.service import in_tenant

router = APIRouter(prefix="/tenants/{tenant}", tags=["segments"])


@router.get("/segments", **operation(SegmentsView.segments, models.SegmentPage, "BAD_CURSOR"))
async def list_segments(request: Request, tenant: str, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> Response:
    """Segments by name, with their sizes."""
    after = start(request, cursor) or ""
    return page_answer(
        request, await in_tenant(request, SegmentsView, tenant, lambda view: view.segments(after=after, limit=limit))
    )


@router.get(
    "/segments/{segment}",
    **operation(SegmentsView.segment, models.SegmentDetail, "UNKNOWN_SEGMENT", "BAD_NAME"),
)
async def get_segment(request: Request, tenant: str, segment: str) -> Response:
    """A segment with the latest report of each partition."""
    return json_answer(await in_tenant(request, SegmentsView, tenant, lambda view: view.segment(segment)))


@router.get(
    "/segments/{segment}/versions",
    **operation(SegmentsView.segment_versions, models.RuleVersions, "UNKNOWN_SEGMENT", "BAD_NAME"),
)
async def list_rule_versions(request: Request, tenant: str, segment: str) -> Response:
    """The rules that a segment has had, oldest first."""
    return items_answer(await in_tenant(request, SegmentsView, tenant, lambda view: view.segment_versions(segment)))
