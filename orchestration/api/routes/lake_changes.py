"""Changes of audiences in the lake: operations."""

from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from orchestration.access.problems import OF_THE_LAKE
from orchestration.access.views.lake_changes import LakeChangesView
from orchestration.api.answers import operation_answer
from orchestration.api.etags import IfMatch, seen_revision
from orchestration.api.keys import IdempotencyKey, key_of
from orchestration.api.models import operations as models
from orchestration.api.operation import OF_KEYS, OF_TAGS, operation
from orchestration.api.service import in_tenant

router = APIRouter(prefix="/tenants/{tenant}", tags=["audiences"])
OF_CHANGES: Final = (*OF_KEYS, "UNKNOWN_AUDIENCE", "BAD_NAME", "BAD_BODY")


@router.post(
    "/audiences/{audience}/rollbacks",
    **operation(
        LakeChangesView.rollback,
        models.Operation,
        *OF_CHANGES,
        *OF_THE_LAKE,
        "NO_SUCH_VERSION",
        status=202,
        headers=["Location"],
    ),
)
async def roll_back(
    request: Request, tenant: str, audience: str, body: models.Rollback, idempotency_key: IdempotencyKey = None
) -> Response:
    """Publish the members of an older version as a new version."""
    key = key_of(request, idempotency_key, body)
    record = await in_tenant(
        request,
        LakeChangesView,
        tenant,
        lambda view: view.rollback(audience, version=body.version, reason=body.reason, key=key),
    )
    return operation_answer(tenant, record)


@router.post(
    "/audiences/{audience}/compactions",
    **operation(
        LakeChangesView.compact,
        models.Operation,
        *OF_CHANGES,
        *OF_THE_LAKE,
        "NOTHING_PUBLISHED",
        status=202,
        headers=["Location"],
    ),
)
async def compact_audience(
    request: Request, tenant: str, audience: str, body: models.Compaction, idempotency_key: IdempotencyKey = None
) -> Response:
    """Publish the current members in fewer files, as a new version."""
    key = key_of(request, idempotency_key, body)
    record = await in_tenant(
        request, LakeChangesView, tenant, lambda view: view.compact(audience, target_mb=body.target_mb, key=key)
    )
    return operation_answer(tenant, record)


@router.post(
    "/audiences/{audience}/expirations",
    **operation(
        LakeChangesView.expire, models.Operation, *OF_CHANGES, "BAD_RETENTION", status=202, headers=["Location"]
    ),
)
async def expire_versions(
    request: Request, tenant: str, audience: str, body: models.Expiration, idempotency_key: IdempotencyKey = None
) -> Response:
    """Expire old versions now, by the audience's retention or by other numbers."""
    key = key_of(request, idempotency_key, body)
    record = await in_tenant(
        request,
        LakeChangesView,
        tenant,
        lambda view: view.expire(audience, versions=body.versions, days=body.days, key=key),
    )
    return operation_answer(tenant, record)


@router.post(
    "/audiences/{audience}/renames",
    **operation(
        LakeChangesView.rename,
        models.Operation,
        *OF_CHANGES,
        *OF_TAGS,
        "AUDIENCE_EXISTS",
        "NAME_TAKEN",
        "AUDIENCE_IN_USE",
        status=202,
        headers=["Location"],
    ),
)
async def rename_audience(
    request: Request,
    tenant: str,
    audience: str,
    body: models.Rename,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Rename an audience. Its versions and jobs stay with it."""
    seen, key = seen_revision(if_match), key_of(request, idempotency_key, body)
    record = await in_tenant(
        request,
        LakeChangesView,
        tenant,
        lambda view: view.rename(audience, new_name=body.audience, seen=seen, key=key),
    )
    return operation_answer(tenant, record)


@router.delete(
    "/audiences/{audience}",
    **operation(
        LakeChangesView.delete,
        models.Operation,
        *OF_TAGS,
        "UNKNOWN_AUDIENCE",
        "BAD_NAME",
        "AUDIENCE_BUSY",
        "AUDIENCE_IN_USE",
        status=202,
        headers=["Location"],
    ),
)
async def delete_audience(request: Request, tenant: str, audience: str, if_match: IfMatch = None) -> Response:
    """Delete an audience with all its versions, for good. Its jobs and receipts stay."""
    seen = seen_revision(if_match)
    record = await in_tenant(request, LakeChangesView, tenant, lambda view: view.delete(audience, seen=seen))
    return operation_answer(tenant, record)
