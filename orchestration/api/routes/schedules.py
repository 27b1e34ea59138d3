"""Schedules."""

from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from orchestration.access.problems import OF_EXPORTS, OF_IMPORTS, OF_THE_ENGINE
from orchestration.access.revisions import SCHEDULE, revision_of
from orchestration.access.views.schedule_changes import ScheduleChangesView
from orchestration.access.views.schedules import SchedulesView
from orchestration.api.answers import json_answer
from orchestration.api.etags import IfMatch, etag, seen_revision
from orchestration.api.keys import IdempotencyKey, key_of
from orchestration.api.models import schedules as models
from orchestration.api.operation import OF_KEYS, OF_TAGS, operation
from orchestration.api.paging import DEFAULT_LIMIT, Cursor, Limit, page_answer, start
from orchestration.api.schema import model_of
from orchestration.api.service import in_tenant
from orchestration.records.jobs import Started, StartedExport

OF_SCHEDULES: Final = (
    *OF_IMPORTS,
    *OF_EXPORTS,
    "UNKNOWN_SEGMENT",
    "BAD_SCHEDULE",
    "BAD_TIMEZONE",
    "BAD_PLACEHOLDER",
    "ADDRESS_REPEATS",
    "BAD_BODY",
)
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
    **operation(SchedulesView.schedule, models.Schedule, "UNKNOWN_SCHEDULE", "BAD_NAME", headers=["ETag"]),
)
async def get_schedule(request: Request, tenant: str, schedule: str) -> Response:
    """A schedule with its last run."""
    return _tagged(await in_tenant(request, SchedulesView, tenant, lambda view: view.schedule(schedule)))


@router.post(
    "/schedules",
    **operation(
        ScheduleChangesView.create_schedule,
        models.Schedule,
        *OF_SCHEDULES,
        "SCHEDULE_EXISTS",
        status=201,
        headers=["ETag"],
    ),
)
async def create_schedule(request: Request, tenant: str, body: models.NewSchedule) -> Response:
    """Create a schedule of an import, an export or a snapshot."""
    given = body.given()
    made = await in_tenant(
        request,
        ScheduleChangesView,
        tenant,
        lambda view: view.create_schedule(body.name, expression=body.expression, timezone=body.timezone, given=given),
    )
    return _tagged(made, 201)


@router.patch(
    "/schedules/{schedule}",
    **operation(
        ScheduleChangesView.change_schedule,
        models.Schedule,
        *OF_TAGS,
        *OF_SCHEDULES,
        "UNKNOWN_SCHEDULE",
        headers=["ETag"],
    ),
)
async def change_schedule(
    request: Request, tenant: str, schedule: str, body: models.ScheduleChange, if_match: IfMatch = None
) -> Response:
    """Edit, pause or resume a schedule. Omitted fields stay; missed runs are not made up."""
    seen, given = seen_revision(if_match), body.given()
    changed = await in_tenant(
        request, ScheduleChangesView, tenant, lambda view: view.change_schedule(schedule, changes=given, seen=seen)
    )
    return _tagged(changed)


@router.delete(
    "/schedules/{schedule}",
    **operation(ScheduleChangesView.delete_schedule, models.Schedule, *OF_TAGS, "UNKNOWN_SCHEDULE", "BAD_NAME"),
)
async def delete_schedule(request: Request, tenant: str, schedule: str, if_match: IfMatch = None) -> Response:
    """Delete a schedule. What its runs have produced stays; its answer is the schedule as it was."""
    seen = seen_revision(if_match)
    return json_answer(
        await in_tenant(request, ScheduleChangesView, tenant, lambda view: view.delete_schedule(schedule, seen=seen))
    )


@router.post(
    "/schedules/{schedule}/runs",
    **operation(
        ScheduleChangesView.run_schedule,
        model_of(Started | StartedExport),
        *OF_KEYS,
        *OF_THE_ENGINE,
        "UNKNOWN_SCHEDULE",
        "BAD_NAME",
        status=202,
    ),
)
async def run_schedule(
    request: Request, tenant: str, schedule: str, idempotency_key: IdempotencyKey = None
) -> Response:
    """Start a run now, also of a paused schedule. A schedule starts at most one run a second."""
    key = key_of(request, idempotency_key)
    return json_answer(
        await in_tenant(request, ScheduleChangesView, tenant, lambda view: view.run_schedule(schedule, key=key)), 202
    )


def _tagged(record: Mapping[str, Any], status: int = 200) -> Response:
    return json_answer(record, status, {"ETag": etag(revision_of(record, SCHEDULE))})
