"""Starts imports and exports, cancels and retries jobs."""

from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from orchestration.access.bodies.exports import NewExport
from orchestration.access.bodies.imports import NewImport
from orchestration.access.problems import OF_EXPORTS, OF_IMPORTS, OF_MANIFESTS, OF_OBJECTS, OF_THE_ENGINE, OF_UPLOADS
from orchestration.access.views.submissions import SubmissionsView
from orchestration.api.answers import json_answer
from orchestration.api.keys import IdempotencyKey, key_of
from orchestration.api.models import submissions as models
from orchestration.api.operation import OF_KEYS, operation
from orchestration.api.service import in_tenant

router = APIRouter(prefix="/tenants/{tenant}", tags=["jobs"])
OF_STARTS: Final = (*OF_KEYS, *OF_THE_ENGINE, "BAD_BODY")


@router.post(
    "/imports",
    **operation(
        SubmissionsView.start_import,
        models.Started,
        *OF_STARTS,
        *OF_IMPORTS,
        *OF_MANIFESTS,
        *OF_UPLOADS,
        "UPLOAD_UNFINISHED",
        status=202,
    ),
)
async def start_import(
    request: Request, tenant: str, body: NewImport, idempotency_key: IdempotencyKey = None
) -> Response:
    """Start the import of an object or an upload."""
    key, given = key_of(request, idempotency_key, body), body.order()
    return json_answer(
        await in_tenant(request, SubmissionsView, tenant, lambda view: view.start_import(given, key)), 202
    )


@router.post(
    "/exports",
    **operation(SubmissionsView.start_export, models.StartedExport, *OF_STARTS, *OF_EXPORTS, status=202),
)
async def start_export(
    request: Request, tenant: str, body: NewExport, idempotency_key: IdempotencyKey = None
) -> Response:
    """Start an export."""
    key, wanted = key_of(request, idempotency_key, body), body.request()
    return json_answer(
        await in_tenant(request, SubmissionsView, tenant, lambda view: view.start_export(wanted, key)), 202
    )


@router.get(
    "/exports/{export}/files",
    **operation(SubmissionsView.export_files, models.ExportFiles, *OF_OBJECTS, "UNKNOWN_JOB", "BAD_JOB_ID", "NO_FILES"),
)
async def list_export_files(request: Request, tenant: str, export: str) -> Response:
    """The files of an export to `download`, with URLs that are valid for five minutes."""
    return json_answer(await in_tenant(request, SubmissionsView, tenant, lambda view: view.export_files(export)))


@router.put(
    "/jobs/{job}/cancellation",
    **operation(
        SubmissionsView.cancel,
        models.CancelledImport | models.CancelledExport,
        "UNKNOWN_JOB",
        "BAD_JOB_ID",
        "IS_DUPLICATE",
        "TOO_LATE",
    ),
)
async def cancel_job(request: Request, tenant: str, job: str) -> Response:
    """Cancel a job, so that it publishes nothing. No effect on a cancelled one."""
    return json_answer(await in_tenant(request, SubmissionsView, tenant, lambda view: view.cancel(job)))


@router.post(
    "/jobs/{job}/retries",
    **operation(
        SubmissionsView.retry,
        models.Retried | models.RetriedExport,
        *OF_STARTS,
        *OF_EXPORTS,
        "BAD_SPEC",
        "BAD_SOURCE",
        "UNKNOWN_JOB",
        "BAD_JOB_ID",
        "NOT_RETRIABLE",
        "NO_SETTINGS",
        "FILE_AT_FAULT",
        status=202,
    ),
)
async def retry_job(
    request: Request, tenant: str, job: str, body: models.Retry, idempotency_key: IdempotencyKey = None
) -> Response:
    """Run a FAILED or CANCELLED job again, as a new job."""
    key, force, present = key_of(request, idempotency_key, body), body.force, body.with_audience_settings
    shrink = body.allow_shrink
    record = await in_tenant(
        request,
        SubmissionsView,
        tenant,
        lambda view: view.retry(job, force=force, with_audience_settings=present, allow_shrink=shrink, key=key),
    )
    return json_answer(record, 202)
