"""Starts snapshots of segments."""

from datetime import datetime
from typing import TYPE_CHECKING

from orchestration.kinds.snapshot.register import check_time, current_rule
from orchestration.kinds.snapshot.request import SnapshotRequest
from orchestration.operations.submit import check_names, start_snapshot
from orchestration.platform.clock import fresh_id, now_ms
from schemas.errors import UserError
from schemas.ids import JobId, segment_name, snapshot_audience

if TYPE_CHECKING:
    from orchestration.catalog.audiences import AudienceStore
    from orchestration.catalog.segments import SegmentStore
    from orchestration.workflow.engine import WorkflowEngine


def snapshot(
    tenant: str,
    name: str,
    *,
    audience: str | None = None,
    at: datetime | None = None,
    allow_shrink: bool = False,
    new_id: JobId | None = None,
    audiences: "AudienceStore",
    engine: "WorkflowEngine",
    segments: "SegmentStore",
) -> JobId:
    """Start a snapshot of a segment; returns the id of its job. Requests that would be refused are refused up front.

    Raises `UserError` BAD_NAME, BAD_TIME, UNKNOWN_TENANT, UNKNOWN_SEGMENT, SEGMENT_PAUSED; `RetriableError`
    ENGINE_UNAVAILABLE, `FatalError` ENGINE_REFUSED.
    """
    target = snapshot_audience(name) if audience is None else audience
    tenant_, target_ = check_names(audiences, tenant, target)
    segment, now = segment_name(name), now_ms()
    at_ms = None if at is None else int(at.timestamp() * 1000)
    if at_ms is not None and at_ms < now:
        raise UserError("BAD_TIME", "workers know the present members of a segment, not past ones", at_ms=at_ms)
    check_time(at_ms, now)
    current_rule(segments, tenant_, segment)
    request = SnapshotRequest(
        job_id=new_id or fresh_id(),
        tenant=tenant_,
        segment=segment,
        audience=target_,
        at_ms=at_ms,
        allow_shrink=allow_shrink,
    )
    return start_snapshot(engine, request)
