"""The first page of a tenant: what failed, what is late, and what runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.policy import Action
from orchestration.access.views.feeds import Feeds
from orchestration.access.views.jobs import Jobs
from orchestration.access.views.schedules import Schedules
from orchestration.access.views.segments import Segments
from orchestration.console.context import PageContext, ask
from orchestration.console.formatting import duration
from orchestration.console.frame import frame_of
from orchestration.console.job_texts import RUNNING
from orchestration.console.language import Texts
from orchestration.console.pages.jobs import JobRow, row_of
from orchestration.console.pages.live import live
from orchestration.console.paths import IN_TENANT, in_tenant
from orchestration.console.rendering import shown
from orchestration.platform.clock import now_ms
from orchestration.records.schedules import Schedule

JOBS: Final = 10
LOOKED_AT: Final = 500
"""Of schedules, segments and feeds each."""
FAILED_WITHIN: Final = timedelta(days=1)
LATE_S: Final = 300.0
"""Shorter delays are those of a worker that starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Late:
    """Something that does not keep up. `detail`: what the service says of it, in English."""

    name: str
    path: str
    text: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OverviewPage:
    """`failed`: of the last day, newest first, as `running`; each list is followed by a link to all."""

    failed: Sequence[JobRow]
    failed_path: str
    late: Sequence[Late]
    running: Sequence[JobRow]
    running_path: str
    stream: str


async def show_overview(request: Request) -> Response:
    """The page."""

    def call(context: PageContext) -> Response:
        frame, view, tenant = frame_of(request, context, "overview"), context.view(Jobs), context.tenant
        since = datetime.fromtimestamp(now_ms() / 1000, UTC) - FAILED_WITHIN
        failed = view.list_jobs(state=["FAILED"], since=since, limit=JOBS).items
        running = view.list_jobs(state=RUNNING, limit=JOBS).items
        page = OverviewPage(
            failed=[row_of(job, tenant, frame.texts) for job in failed],
            failed_path=in_tenant(tenant, "jobs", state="FAILED"),
            late=list(_late(context, frame.texts)) if context.may(Action.READ) else (),
            running=[row_of(job, tenant, frame.texts) for job in running],
            running_path=in_tenant(tenant, "jobs", state="running"),
            stream=live(tenant, "job"),
        )
        return shown("overview.html", frame, page)

    return await ask(request, call)


def _late(context: PageContext, t: Texts) -> Iterator[Late]:
    tenant = context.tenant
    for schedule in context.view(Schedules).list_schedules(limit=LOOKED_AT).items:
        path, detail = in_tenant(tenant, "schedules", q=schedule.name), _trouble(schedule)
        if schedule.enabled and (detail or _overdue_s(schedule) > LATE_S):
            text = t("overview.schedule") if detail else t("overview.overdue", due=duration(_overdue_s(schedule), t))
            yield Late(name=schedule.name, path=path, text=text, detail=detail)
    for segment in context.view(Segments).list_segments(limit=LOOKED_AT).items:
        if segment.state == "active" and segment.lag_s is not None and segment.lag_s > LATE_S:
            text = t("overview.segment", duration=duration(segment.lag_s, t))
            yield Late(name=segment.segment, path=in_tenant(tenant, "segments", segment.segment), text=text)
    for feed in context.view(Feeds).list_feeds(limit=LOOKED_AT).items:
        if feed.state != "paused" and feed.trouble is not None:
            detail = str(feed.trouble.get("message", ""))
            yield Late(name=feed.name, path=in_tenant(tenant, "feeds"), text=t("overview.feed"), detail=detail)


def _trouble(schedule: Schedule) -> str:
    """Why its next or its last run failed."""
    found = schedule.trouble or (schedule.last or {}).get("error") or {}
    return str(found.get("message", ""))


def _overdue_s(schedule: Schedule) -> float:
    if schedule.next_due is None:
        return 0.0
    return now_ms() / 1000 - datetime.fromisoformat(schedule.next_due).timestamp()


ROUTES: Final = (Route(f"{IN_TENANT}/overview", show_overview),)
