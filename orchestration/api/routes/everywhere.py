"""Jobs of all tenants in which the caller may read them."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from orchestration.access.views.everywhere import EverywhereView
from orchestration.api.answers import json_answer
from orchestration.api.models import jobs as models
from orchestration.api.operation import operation
from orchestration.api.paging import DEFAULT_LIMIT, Cursor, Limit, Named, page_answer, start
from orchestration.api.service import everywhere
from schemas.job_kinds import JobKind

router = APIRouter(tags=["jobs"])


@router.get("/jobs", **operation(EverywhereView.jobs, models.JobPage, "BAD_CURSOR", "UNKNOWN_STATE"))
async def list_all_jobs(
    request: Request,
    kind: Annotated[list[JobKind] | None, Query(description="Repeatable; default: all kinds.")] = None,
    audience: Named = None,
    state: Annotated[list[str] | None, Query(max_length=20, description="Repeatable; default: all states.")] = None,
    begins: Annotated[
        str | None, Query(pattern="^[0-9a-hjkmnp-tv-z]{1,26}$", description="Beginning of their ids.")
    ] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """Jobs of all kinds in all tenants in which you may read them, newest first."""
    filters = {"kind": kind, "audience": audience, "state": state, "begins": begins}
    before, kinds, states = start(request, cursor, **filters), kind or (), state or ()
    page = await everywhere(
        request,
        lambda view: view.jobs(
            kinds=kinds, audience=audience, states=states, before=before, begins=begins, limit=limit
        ),
    )
    return page_answer(request, page, **filters)


@router.get(
    "/jobs/{job}",
    **operation(EverywhereView.job, models.ImportJobDetail | models.ExportJobDetail, "UNKNOWN_JOB", "BAD_JOB_ID"),
)
async def find_job(request: Request, job: str) -> Response:
    """A job by its id alone, in any tenant. For a duplicate, its original."""
    return json_answer(await everywhere(request, lambda view: view.job(job)))
