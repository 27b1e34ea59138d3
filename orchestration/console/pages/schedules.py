"""Schedules: what runs when, how it went, and the next times."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.bodies.schedules import ScheduleChange
from orchestration.access.policy import Action
from orchestration.access.revisions import Seen, revision_of
from orchestration.access.views.schedules import Schedules
from orchestration.console.context import PageContext, ask
from orchestration.console.forms import form_of, fresh_key, key_of
from orchestration.console.frame import frame_of
from orchestration.console.job_texts import ICONS, Badge, Tone, badge_of_state
from orchestration.console.language import Texts
from orchestration.console.listing import ListFilter, Wanted, filter_of
from orchestration.console.pages.schedule_form import kind_of
from orchestration.console.paths import IN_TENANT, in_tenant, next_page, page_start
from orchestration.console.rendering import see_other, shown
from orchestration.console.timing import NEXT_RUNS, words_of
from orchestration.records.jobs import Started
from orchestration.records.schedules import Schedule
from schemas.errors import UserError

ROWS: Final = 30
RUNS: Final[Mapping[str, Tone]] = {"STARTED": "running", "REFUSED": "bad", "DUPLICATE": "neutral"}
"""States of runs that have no job of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRun:
    """`path`: its job, if it has one; `text`: why it failed."""

    due: str
    badge: Badge
    path: str | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRow:
    """`what`: is moved; `words`: when it runs; `next_runs`: none while it is paused. `key`: starts one run at most."""

    schedule: Schedule
    kind: str
    what: str
    words: str
    badge: Badge
    next_runs: Sequence[str]
    last: LastRun | None
    trouble: str
    revision: str
    key: str
    edit_path: str
    state_path: str
    run_path: str
    delete_path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulesPage:
    """Schedules."""

    rows: Sequence[ScheduleRow]
    filter: ListFilter
    may_change: bool
    new_path: str
    next_path: str | None


async def show_schedules(request: Request) -> Response:
    """The page."""
    wanted = Wanted.of(request)
    after = page_start(request, **wanted.query) or ""

    def call(context: PageContext) -> Response:
        frame, view = frame_of(request, context, "schedules"), context.view(Schedules)
        found = view.list_schedules(part=wanted.part, order=wanted.order, after=after, limit=ROWS)
        path = in_tenant(context.tenant, "schedules")
        page = SchedulesPage(
            rows=[
                _row(one, view.upcoming(one.name, count=NEXT_RUNS), context.tenant, frame.texts) for one in found.items
            ],
            may_change=context.may(Action.RUN_JOBS),
            new_path=in_tenant(context.tenant, "schedules", "new"),
            filter=filter_of(wanted, path, lambda part: view.count_schedules(part=part), frame.texts),
            next_path=next_page(request, found.next, **wanted.query),
        )
        return shown("schedules.html", frame, page)

    return await ask(request, call)


def _row(schedule: Schedule, next_runs: Sequence[str], tenant: str, t: Texts) -> ScheduleRow:
    name, enabled, trouble = schedule.name, schedule.enabled, schedule.trouble
    tone: Tone = "good" if enabled and next_runs else "neutral"
    state = "active" if enabled and next_runs else "over" if enabled else "paused"
    return ScheduleRow(
        schedule=schedule,
        kind=t(f"schedule_kind.{kind_of(schedule)}"),
        words=words_of(schedule.expression, schedule.timezone, t),
        what=what_of(schedule.kind, schedule.request),
        badge=Badge(tone=tone, icon=ICONS[tone], text=t(f"schedules.{state}")),
        next_runs=next_runs,
        last=None if schedule.last is None else _last(schedule.last, tenant, t),
        trouble="" if trouble is None else str(trouble.get("message", trouble)),
        revision=revision_of(schedule, schedule.revision),
        key=fresh_key(),
        edit_path=in_tenant(tenant, "schedules", name, "edit"),
        state_path=in_tenant(tenant, "schedules", name, "state"),
        run_path=in_tenant(tenant, "schedules", name, "runs"),
        delete_path=in_tenant(tenant, "schedules", name, "deletion"),
    )


def what_of(kind: str, request: Mapping[str, Any]) -> str:
    """What a run moves, from where to where."""
    if "sql" in request:
        return f"{request['sql'].strip()} → {request['audience']}"
    if kind == "import":
        return f"s3://{request['bucket']}/{request['key']} → {request['audience']}"
    if kind == "export":
        return f"{request['audience']} → {request['to']}"
    return f"{request['segment']} → {request['audience']}"


def _last(last: Mapping[str, Any], tenant: str, t: Texts) -> LastRun:
    state, job, error = str(last["state"]), last.get("job") or last.get("export"), last["error"]
    if (tone := RUNS.get(state)) is not None:
        badge = Badge(tone=tone, icon=ICONS[tone], text=t(f"run.{state}"))
    else:
        badge = badge_of_state(state, t)
    return LastRun(
        due=last["due"],
        badge=badge,
        path=None if job is None else in_tenant(tenant, "jobs", job),
        text="" if error is None else str(error["message"]),
    )


async def set_state(request: Request) -> Response:
    """Pause or resume."""
    form, name = await form_of(request), request.path_params["schedule"]
    enabled = form.get("enabled", "")
    if enabled not in {"yes", "no"}:
        raise UserError("BAD_BODY", "the form cannot be read; load the page again")

    def call(context: PageContext) -> Response:
        change = ScheduleChange(enabled=enabled == "yes")
        context.view(Schedules).change_schedule(name, change, seen=Seen(form.get("revision", "")))
        return _back(context)

    return await ask(request, call)


async def run_now(request: Request) -> Response:
    """Start a run."""
    form, name = await form_of(request), request.path_params["schedule"]
    key = key_of(request, form)

    def call(context: PageContext) -> Response:
        started = context.view(Schedules).run_schedule(name, key=key)
        job = started.job if isinstance(started, Started) else started.export
        return see_other(in_tenant(context.tenant, "jobs", job, started="1"))

    return await ask(request, call)


async def delete(request: Request) -> Response:
    """Delete; the page has asked."""
    form, name = await form_of(request), request.path_params["schedule"]

    def call(context: PageContext) -> Response:
        context.view(Schedules).delete_schedule(name, seen=Seen(form.get("revision", "")))
        return _back(context)

    return await ask(request, call)


def _back(context: PageContext) -> Response:
    return see_other(in_tenant(context.tenant, "schedules"))


ROUTES: Final = (
    Route(f"{IN_TENANT}/schedules", show_schedules),
    Route(f"{IN_TENANT}/schedules/{{schedule}}/state", set_state, methods=["POST"]),
    Route(f"{IN_TENANT}/schedules/{{schedule}}/runs", run_now, methods=["POST"]),
    Route(f"{IN_TENANT}/schedules/{{schedule}}/deletion", delete, methods=["POST"]),
)
