"""RegisterImport for a snapshot: its audience, and a job that has no duplicates."""

from dataclasses import replace
from hashlib import sha256
from typing import Final

from orchestration.catalog.records import NewJob
from orchestration.catalog.segment_records import RuleVersion
from orchestration.catalog.segments import SegmentStore
from orchestration.kinds.snapshot.request import SnapshotRequest
from orchestration.kinds.specs import Specs
from orchestration.platform.clock import fresh_id, now_ms
from schemas.errors import UserError
from schemas.ids import AudienceName, TenantName, audience_name, segment_name, tenant_name
from schemas.import_spec import ImportSpec
from schemas.topics import HOUR_MS
from segmentation.columns import check_change
from segmentation.cuts import CUT_ROWS

AHEAD_MAX_MS: Final = HOUR_MS
"""While a job waits for its instant, it takes the place of another one in its lane."""


def new_snapshot(
    request: SnapshotRequest, execution: str, *, segments: SegmentStore, specs: Specs, partitions: int
) -> NewJob:
    """The job for a request. If the audience does not exist yet, it is created as `awaited`.

    Raises `UserError` BAD_NAME, BAD_TIME, UNKNOWN_SEGMENT, SEGMENT_PAUSED, UNKNOWN_TENANT, NAME_TAKEN,
    COLUMNS_WOULD_CHANGE.
    """
    tenant, audience = tenant_name(request.tenant), audience_name(request.audience)
    check_time(request.at_ms, now_ms())
    current_rule(segments, tenant, segment_name(request.segment))
    into = specs.audiences.for_import(tenant, audience, new_id=fresh_id(), now_ms=now_ms())
    kept = specs.stored(into)
    drop = frozenset(kept.drop_columns)
    check_change(audience, kept.row_schema, CUT_ROWS, drop=drop, retype=frozenset(), from_file=False)
    shrink = None if request.allow_shrink else kept.max_shrink_percent
    order_ms = max(now_ms(), request.at_ms or 0)
    return replace(
        refused_snapshot(request, execution, partitions),
        tenant=tenant,
        audience=audience,
        audience_id=into.audience_id,
        spec=ImportSpec(max_shrink_percent=shrink, allow_empty=True, drop_columns=kept.drop_columns),
        order_key=f"{order_ms:015d}/{'':0>32}/{request.job_id}",
    )


def refused_snapshot(request: SnapshotRequest, execution: str, partitions: int) -> NewJob:
    """The job for a request that cannot be met."""
    return NewJob(
        job_id=request.job_id,
        tenant=request.tenant,
        audience=request.audience,
        audience_id=None,
        mode="replace",
        partitions=partitions,
        spec=ImportSpec(),
        source={"segment": request.segment, "at_ms": request.at_ms, "allow_shrink": request.allow_shrink},
        small=True,
        order_key="",
        dedupe_key=sha256(request.job_id.encode()).hexdigest(),  # unique: each snapshot is of another instant
        execution=execution,
        retry_of=request.retry_of,
        created_at_ms=now_ms(),
    )


def check_time(at_ms: int | None, now: int) -> None:
    """Raises `UserError` BAD_TIME for an instant so far ahead that a job would wait too long."""
    if at_ms is not None and at_ms > now + AHEAD_MAX_MS:
        raise UserError(
            "BAD_TIME",
            "a snapshot can be taken at most an hour ahead; use `muster schedules` for later ones",
            at_ms=at_ms,
        )


def current_rule(segments: SegmentStore, tenant: TenantName, name: AudienceName) -> RuleVersion:
    """The rule that a segment is evaluated with. Raises `UserError` UNKNOWN_SEGMENT, SEGMENT_PAUSED."""
    segment = segments.get(tenant, name)
    if segment.state == "paused":
        raise UserError(
            "SEGMENT_PAUSED",
            f"segment {name} is paused, so its members are out of date; run `muster segments resume {name}` first",
            tenant=tenant,
            segment=name,
        )
    return segments.versions(segment.segment_id)[segment.rule_version - 1]
