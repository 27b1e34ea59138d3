"""The list of jobs. Rows keep their places: changes appear in their row, and new jobs are counted above."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.pages import Page
from orchestration.access.policy import Action
from orchestration.access.views.jobs import Jobs
from orchestration.console.context import PageContext, ask
from orchestration.console.frame import frame_of
from orchestration.console.job_texts import RUNNING, JobWords, id_of, is_final, words_of
from orchestration.console.language import Texts
from orchestration.console.listing import Choice
from orchestration.console.pages.live import live
from orchestration.console.paths import IN_TENANT, in_tenant, next_page, page_start
from orchestration.console.rendering import shown
from orchestration.records.jobs import Job
from schemas.errors import UserError
from schemas.job_kinds import JOB_KINDS
from segmentation.timetable import time_zone

ROWS: Final = 30
DETAILED: Final = 20
"""Running jobs whose stages are in the first answer; the others get theirs with their first event."""
NEW: Final = 100
COUNTED: Final = 10_000
"""More are not counted."""
STATE_FILTERS: Final = ("running", "READY", "FAILED", "CANCELLED", "SUPERSEDED")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """One job, and its page."""

    job: JobWords
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsPage:
    """`newest`: the id of the newest job that is shown; `path`: with the filters, without a cursor.

    `more`: there are more than `count`. `names_people`: the reader may look for others than themselves.
    """

    rows: Sequence[JobRow]
    states: Sequence[Choice]
    kinds: Sequence[Choice]
    filters: "Filters"
    names_people: bool
    count: int
    more: bool
    path: str
    all_path: str
    new_path: str
    next_path: str | None
    first: bool
    upload_path: str | None
    stream: str
    newest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJobs:
    """How many jobs are newer than the list; `more`: at least so many."""

    count: int
    more: bool
    path: str
    new_path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPart:
    """One row, fetched again."""

    row: JobRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What the reader wants to see; empty: all."""

    state: str
    kind: str
    audience: str
    part: str
    since: str
    until: str
    zone: str
    started_by: str

    @classmethod
    def of(cls, request: Request) -> "Filters":
        """The filters in the address. Unknown values are ignored."""
        given = request.query_params
        state, kind = given.get("state", ""), given.get("kind", "")
        return cls(
            state=state if state in STATE_FILTERS else "",
            kind=kind if kind in JOB_KINDS else "",
            audience=given.get("audience", "").strip()[:63],
            part=given.get("q", "").strip()[:63],
            since=_day(given.get("from", "")),
            until=_day(given.get("to", "")),
            zone=given.get("zone", "")[:64],
            started_by=given.get("by", "").strip()[:100],
        )

    @property
    def query(self) -> dict[str, str | list[str] | None]:
        """As they stand in addresses."""
        return {
            "state": self.state,
            "kind": self.kind,
            "audience": self.audience,
            "q": self.part,
            "from": self.since,
            "to": self.until,
            "zone": self.zone if self.since or self.until else "",
            "by": self.started_by,
        }

    @property
    def given(self) -> bool:
        """Whether they leave anything out."""
        return any(self.query.values())

    def found(self, context: PageContext, *, before: str | None, limit: int) -> Page[Job]:
        """A page of jobs."""
        return context.view(Jobs).list_jobs(**self._arguments, before=before, limit=limit)

    def count(self, context: PageContext) -> int:
        """How many jobs there are, up to one more than are counted."""
        return context.view(Jobs).count_jobs(**self._arguments, most=COUNTED + 1)

    @property
    def _arguments(self) -> dict[str, Any]:
        try:
            zone: tzinfo = time_zone(self.zone)
        except UserError:
            zone = UTC
        until = date.fromisoformat(self.until) + timedelta(days=1) if self.until else None
        return {
            "kind": [self.kind] if self.kind else [],
            "audience": self.audience or None,
            "state": RUNNING if self.state == "running" else [self.state] if self.state else [],
            "part": self.part,
            "since": _midnight(date.fromisoformat(self.since), zone) if self.since else None,
            "until": None if until is None else _midnight(until, zone),
            "started_by": self.started_by,
        }


def _day(text: str) -> str:
    """A day as it stands in addresses; others are ignored, and so are those that no time in milliseconds has."""
    try:
        return text if 1970 <= date.fromisoformat(text).year < 9999 else ""
    except ValueError:
        return ""


def _midnight(day: date, zone: tzinfo) -> datetime:
    return datetime.combine(day, time(), zone)


async def show_jobs(request: Request) -> Response:
    """The page."""
    filters = Filters.of(request)
    before = page_start(request, **filters.query)

    def call(context: PageContext) -> Response:
        frame = frame_of(request, context, "jobs")
        found, t, tenant = filters.found(context, before=before, limit=ROWS), frame.texts, context.tenant
        rows = [row_of(job, tenant, t) for job in _detailed(context, found.items)]
        newest = rows[0].job.id if rows else ""
        count = filters.count(context)
        page = JobsPage(
            rows=rows,
            states=[
                Choice(value=one, text=t(f"jobs.filter.{one}"), chosen=one == filters.state)
                for one in ("", *STATE_FILTERS)
            ],
            kinds=[
                Choice(value=one, text=t(f"kind.{one}") if one else t("jobs.filter."), chosen=one == filters.kind)
                for one in ("", *JOB_KINDS)
            ],
            filters=filters,
            names_people=context.may(Action.MANAGE_ACCESS),
            count=min(count, COUNTED),
            more=count > COUNTED,
            path=in_tenant(tenant, "jobs", **filters.query),
            all_path=in_tenant(tenant, "jobs"),
            new_path=in_tenant(tenant, "jobs", "new", **filters.query, after=newest),
            next_path=next_page(request, found.next, **filters.query),
            first=before is None,
            upload_path=in_tenant(tenant, "upload") if context.may(Action.RUN_JOBS) else None,
            stream=live(tenant, "job"),
            newest=newest,
        )
        return shown("jobs.html", frame, page)

    return await ask(request, call)


def _detailed(context: PageContext, jobs: Sequence[Job]) -> list[Job]:
    """Jobs, with the stages of those that run."""
    view, running = context.view(Jobs), [id_of(job) for job in jobs if not is_final(job)][:DETAILED]
    return [view.get_job(id_of(job)) if id_of(job) in running else job for job in jobs]


def row_of(job: Job, tenant: str, t: Texts) -> JobRow:
    """A job as its row."""
    return JobRow(job=words_of(job, t), path=in_tenant(tenant, "jobs", id_of(job)))


async def show_row(request: Request) -> Response:
    """One row, as it is now."""

    def call(context: PageContext) -> Response:
        frame = frame_of(request, context, "jobs")
        job = context.view(Jobs).get_job(request.path_params["job"])
        return shown("parts/job_row.html", frame, RowPart(row=row_of(job, context.tenant, frame.texts)))

    return await ask(request, call)


async def show_new(request: Request) -> Response:
    """How many jobs are newer than the list."""
    filters, after = Filters.of(request), request.query_params.get("after", "")

    def call(context: PageContext) -> Response:
        found = filters.found(context, before=None, limit=NEW).items
        count = sum(id_of(job) > after for job in found)
        tenant = context.tenant
        page = NewJobs(
            count=count,
            more=count == NEW,
            path=in_tenant(tenant, "jobs", **filters.query),
            new_path=in_tenant(tenant, "jobs", "new", **filters.query, after=after),
        )
        return shown("parts/new_jobs.html", frame_of(request, context, "jobs"), page)

    return await ask(request, call)


ROUTES: Final = (
    Route(f"{IN_TENANT}/jobs", show_jobs),
    Route(f"{IN_TENANT}/jobs/new", show_new),
    Route(f"{IN_TENANT}/jobs/{{job}}/row", show_row),
)
