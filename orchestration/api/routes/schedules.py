"""Schedules."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from orchestration.access.views.schedules import SchedulesView
from orchestration.api.answers import json_answer
from orchestration.api.models import schedules as models
from orchestration.api.operation import operation
from orchestration.api.paging import DEFAULT_LIMIT, Cursor, Limit, page_answer, start
from orchestration.api.service import in_tenant

router = APIRouter(prefix="/tenants/{tenant}", tags=["schedules"])


@router.get("/schedules", **operation(SchedulesView.schedules, models.SchedulePage, "BAD_CURSOR"))
async def list_schedules(
    request: Request, tenant: str, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Response:
    """Schedules by name, with their last runs."""
    after = start(request, cursor) or ""
    return page_answer(
        request, await in_tenant(request, SchedulesView, tenant, lambda view: view.schedules(after=after, limit=limit))
    )


@router.get(
    "/schedules/{schedule}",
    **operation(SchedulesView.schedule, models.Schedule, "UNKNOWN_SCHEDULE", "BAD_NAME"),
)
async def get_schedule(request: Request, tenant: str, schedule: str) -> Response:
    """A schedule with its last run."""
    return json_answer(await in_tenant(request, SchedulesView, tenant, lambda view: view.schedule(schedule)))
