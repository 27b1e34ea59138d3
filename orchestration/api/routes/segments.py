"""Segments."""

from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from orchestration.access.revisions import SEGMENT, revision_of
from orchestration.access.views.segment_changes import SegmentChangesView
from orchestration.access.views.segments import SegmentsView
from orchestration.api.answers import items_answer, json_answer
from orchestration.api.etags import IfMatch, etag, seen_revision
from orchestration.api.keys import IdempotencyKey, key_of
from orchestration.api.models import segments as models
from orchestration.api.models.submissions import Started
from orchestration.api.operation import OF_KEYS, OF_TAGS, OF_THE_ENGINE, operation
from orchestration.api.paging import DEFAULT_LIMIT, Cursor, Limit, page_answer, start
from orchestration.api.service import in_tenant

router = APIRouter(prefix="/tenants/{tenant}", tags=["segments"])
OF_RULES: Final = (
    "BAD_NAME",
    "BAD_RULE",
    "RULE_TOO_BIG",
    "BAD_TIMEZONE",
    "UNKNOWN_AUDIENCE",
    "UNKNOWN_SEGMENT",
    "SEGMENT_CYCLE",
    "BAD_BODY",
)


@router.get("/segments", **operation(SegmentsView.segments, models.SegmentPage, "BAD_CURSOR"))
async def list_segments(request: Request, tenant: str, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> Response:
    """Segments by name, with their sizes."""
    after = start(request, cursor) or ""
    return page_answer(
        request, await in_tenant(request, SegmentsView, tenant, lambda view: view.segments(after=after, limit=limit))
    )


@router.get(
    "/segments/{segment}",
    **operation(SegmentsView.segment, models.SegmentDetail, "UNKNOWN_SEGMENT", "BAD_NAME", headers=["ETag"]),
)
async def get_segment(request: Request, tenant: str, segment: str) -> Response:
    """A segment with the latest report of each partition."""
    return _tagged(await in_tenant(request, SegmentsView, tenant, lambda view: view.segment(segment)))


@router.get(
    "/segments/{segment}/versions",
    **operation(SegmentsView.segment_versions, models.RuleVersions, "UNKNOWN_SEGMENT", "BAD_NAME"),
)
async def list_rule_versions(request: Request, tenant: str, segment: str) -> Response:
    """The rules that a segment has had, oldest first."""
    return items_answer(await in_tenant(request, SegmentsView, tenant, lambda view: view.segment_versions(segment)))


@router.post(
    "/segments",
    **operation(
        SegmentChangesView.create_segment,
        models.Segment,
        *OF_RULES,
        "NAME_TAKEN",
        "AUDIENCE_NAME_TAKEN",
        "SEGMENT_EXISTS",
        "TOO_MANY_SEGMENTS",
        status=201,
        headers=["ETag"],
    ),
)
async def create_segment(request: Request, tenant: str, body: models.NewSegment) -> Response:
    """Create a segment. Its workers evaluate it over all past events first."""
    rule = body.text()
    made = await in_tenant(
        request, SegmentChangesView, tenant, lambda view: view.create_segment(body.segment, rule, body.timezone)
    )
    return _tagged(made, 201)


@router.put(
    "/segments/{segment}",
    **operation(
        SegmentChangesView.edit_segment, models.Segment, *OF_RULES, *OF_TAGS, "SEGMENT_PAUSED", headers=["ETag"]
    ),
)
async def edit_segment(
    request: Request, tenant: str, segment: str, body: models.SegmentRule, if_match: IfMatch = None
) -> Response:
    """Change the rule of a segment. The same rule in other words makes no version."""
    seen, rule = seen_revision(if_match), body.text()
    changed = await in_tenant(
        request, SegmentChangesView, tenant, lambda view: view.edit_segment(segment, rule, body.timezone, seen=seen)
    )
    return _tagged(changed)


@router.delete(
    "/segments/{segment}",
    **operation(
        SegmentChangesView.delete_segment, models.Segment, *OF_TAGS, "UNKNOWN_SEGMENT", "BAD_NAME", "SEGMENT_IN_USE"
    ),
)
async def delete_segment(request: Request, tenant: str, segment: str, if_match: IfMatch = None) -> Response:
    """Delete a segment; all its members leave. Its answer is the segment as it was."""
    seen = seen_revision(if_match)
    return json_answer(
        await in_tenant(request, SegmentChangesView, tenant, lambda view: view.delete_segment(segment, seen=seen))
    )


@router.put(
    "/segments/{segment}/state",
    **operation(
        SegmentChangesView.change_state,
        models.Segment,
        "UNKNOWN_SEGMENT",
        "BAD_NAME",
        "BAD_BODY",
        headers=["ETag"],
    ),
)
async def change_segment_state(request: Request, tenant: str, segment: str, body: models.SegmentState) -> Response:
    """Pause or resume a segment. No effect on one in that state."""
    changed = await in_tenant(request, SegmentChangesView, tenant, lambda view: view.change_state(segment, body.state))
    return _tagged(changed)


@router.post(
    "/segments/{segment}/snapshots",
    **operation(
        SegmentChangesView.snapshot,
        Started,
        *OF_KEYS,
        *OF_THE_ENGINE,
        "UNKNOWN_SEGMENT",
        "BAD_NAME",
        "BAD_TIME",
        "BAD_BODY",
        "SEGMENT_PAUSED",
        status=202,
    ),
)
async def snapshot_segment(
    request: Request, tenant: str, segment: str, body: models.NewSnapshot, idempotency_key: IdempotencyKey = None
) -> Response:
    """Publish the members of a segment as a version of an audience."""
    key = key_of(request, idempotency_key, body)
    record = await in_tenant(
        request,
        SegmentChangesView,
        tenant,
        lambda view: view.snapshot(
            segment, audience=body.audience, at=body.at, allow_shrink=body.allow_shrink, key=key
        ),
    )
    return json_answer(record, 202)


def _tagged(record: Mapping[str, Any], status: int = 200) -> Response:
    return json_answer(record, status, {"ETag": etag(revision_of(record, SEGMENT))})
