"""Jobs."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from orchestration.access.problems import OF_OBJECTS
from orchestration.access.views.jobs import JobsView
from orchestration.api.answers import json_answer
from orchestration.api.models import jobs as models
from orchestration.api.operation import OF_READERS, operation
from orchestration.api.paging import DEFAULT_LIMIT, Cursor, Limit, Named, page_answer, page_record, start
from orchestration.api.service import asked_in_tenant, in_tenant
from schemas.job_kinds import JobKind

router = APIRouter(prefix="/tenants/{tenant}", tags=["jobs"])


@router.get("/jobs", **operation(JobsView.jobs, models.JobPage, "BAD_CURSOR", "UNKNOWN_STATE"))
async def list_jobs(
    request: Request,
    tenant: str,
    kind: Annotated[list[JobKind] | None, Query(description="Repeatable; default: all kinds.")] = None,
    audience: Named = None,
    state: Annotated[list[str] | None, Query(max_length=20, description="Repeatable; default: all states.")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """Jobs of all kinds, newest first."""
    filters = {"kind": kind, "audience": audience, "state": state}
    before = start(request, cursor, **filters)
    kinds, states = kind or (), state or ()
    page = await in_tenant(
        request,
        JobsView,
        tenant,
        lambda view: view.jobs(kinds=kinds, audience=audience, states=states, before=before, limit=limit),
    )
    return page_answer(request, page, **filters)


@router.get(
    "/jobs/{job}",
    **operation(JobsView.job, models.ImportJobDetail | models.ExportJobDetail, "UNKNOWN_JOB", "BAD_JOB_ID"),
)
async def get_job(request: Request, tenant: str, job: str) -> Response:
    """A job with its history and progress. For a duplicate, its original."""
    return json_answer(await in_tenant(request, JobsView, tenant, lambda view: view.job(job)))


@router.get(
    "/jobs/{job}/receipt",
    **operation(JobsView.receipt, models.Receipt, "UNKNOWN_JOB", "BAD_JOB_ID", "NO_RECEIPT"),
)
async def get_receipt(request: Request, tenant: str, job: str) -> Response:
    """The receipt of a READY import or snapshot: its counts add up."""
    return json_answer(await in_tenant(request, JobsView, tenant, lambda view: view.receipt(job)))


@router.get(
    "/jobs/{job}/rejects",
    **operation(JobsView.rejects, models.Rejects, *OF_READERS, "BAD_CURSOR", "UNKNOWN_JOB", "BAD_JOB_ID", "NO_REJECTS"),
)
async def get_rejects(
    request: Request,
    tenant: str,
    job: str,
    rows: Annotated[int, Query(ge=0, le=500, description="Also return this many rejected rows.")] = 0,
    code: Annotated[str | None, Query(max_length=40, description="Only rows with this code.")] = None,
    cursor: Cursor = None,
) -> Response:
    """How many rows of a job were rejected, by code; and the rows, in the order of the file."""
    after = start(request, cursor, code=code)
    if not rows:
        counted = await in_tenant(request, JobsView, tenant, lambda view: view.rejects(job))
        return json_answer({**counted, "items": [], "next": None})
    counted, page = await asked_in_tenant(
        request,
        JobsView,
        tenant,
        lambda view, cancellation: view.rejected_rows(cancellation, job, code=code, after=after, limit=rows),
    )
    return json_answer({**counted, **page_record(request, page, code=code)})


@router.get(
    "/jobs/{job}/rejects/file",
    **operation(JobsView.rejects_file, models.RejectsFile, *OF_OBJECTS, "UNKNOWN_JOB", "BAD_JOB_ID", "NO_REJECTS"),
)
async def get_rejects_file(request: Request, tenant: str, job: str) -> Response:
    """All rejected rows of a job as a Parquet file, which is fetched with a URL that is valid for five minutes."""
    return json_answer(await in_tenant(request, JobsView, tenant, lambda view: view.rejects_file(job)))
