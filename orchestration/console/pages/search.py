"""Find anything of a tenant by a part of its name or id: audiences, segments, schedules, jobs; and a user by the id."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.pages import Page
from orchestration.access.policy import Action
from orchestration.access.views.audiences import Audiences
from orchestration.access.views.jobs import Jobs
from orchestration.access.views.schedules import Schedules
from orchestration.access.views.segments import Segments
from orchestration.console.context import PageContext, ask
from orchestration.console.frame import frame_of
from orchestration.console.job_texts import id_of, title_of
from orchestration.console.language import Texts
from orchestration.console.paths import IN_TENANT, in_tenant
from orchestration.console.rendering import shown
from orchestration.console.segment_texts import Named
from orchestration.records.jobs import Job
from schemas.errors import UserError
from schemas.ids import job_id

ItemT = TypeVar("ItemT")
READ: Final = 500
MOST: Final = 10_000
"""Names of one kind that are searched."""
JOBS: Final = 100
"""The newest, by the end of their ids and their audiences; any by its whole id."""
SHOWN: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Things of one kind: the first of `count`."""

    kind: str
    count: int
    items: Sequence[Named]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPage:
    """`users_path`: where a user with this id is looked up; None for those who may not."""

    query: str
    path: str
    found: Sequence[Found]
    users_path: str | None


async def show_search(request: Request) -> Response:
    """The page, or as one types, its results."""
    query = request.query_params.get("q", "").strip()[:255]
    template = "parts/search.html" if "hx-request" in request.headers else "search.html"

    def call(context: PageContext) -> Response:
        frame = frame_of(request, context, "search")
        context.view(Audiences).require(Action.READ)
        page = SearchPage(
            query=query,
            path=in_tenant(context.tenant, "search"),
            found=[one for one in _found(context, query.lower(), frame.texts) if one.count] if query else (),
            users_path=in_tenant(context.tenant, "users", "found") if context.may(Action.READ_USERS) else None,
        )
        return shown(template, frame, page)

    return await ask(request, call)


def _found(context: PageContext, part: str, t: Texts) -> Iterator[Found]:
    audiences, segments, schedules = context.view(Audiences), context.view(Segments), context.view(Schedules)
    names = {
        "audiences": [one.audience for one in _all(lambda after: audiences.list_audiences(after=after, limit=READ))],
        "segments": [one.segment for one in _all(lambda after: segments.list_segments(after=after, limit=READ))],
        "schedules": [one.name for one in _all(lambda after: schedules.list_schedules(after=after, limit=READ))],
    }
    for kind, known in names.items():
        fits = sorted((one for one in known if part in one), key=lambda one: (not one.startswith(part), one))
        items = [Named(name=one, path=_path(context, kind, one)) for one in fits[:SHOWN]]
        yield Found(kind=kind, count=len(fits), items=items)
    if context.may(Action.READ_JOBS):
        yield _jobs(context, part, t)


def _path(context: PageContext, kind: str, name: str) -> str:
    if kind == "schedules":  # they share a page
        parts = (name, "edit") if context.may(Action.RUN_JOBS) else ()
        return in_tenant(context.tenant, kind, *parts)
    return in_tenant(context.tenant, kind, name)


def _jobs(context: PageContext, part: str, t: Texts) -> Found:
    view = context.view(Jobs)
    try:
        fits: list[Job] = [view.get_job(job_id(part))]
    except UserError:
        newest = view.list_jobs(limit=JOBS).items
        fits = [one for one in newest if id_of(one).endswith(part) or part in one.audience]
    items = [
        Named(
            name=f"{title_of(one, t)} · {t(f'state.{one.state}')} · …{id_of(one)[-6:]}",
            path=in_tenant(context.tenant, "jobs", id_of(one)),
        )
        for one in fits[:SHOWN]
    ]
    return Found(kind="jobs", count=len(fits), items=items)


def _all(read: Callable[[str], Page[ItemT]]) -> Iterator[ItemT]:
    after, count = "", 0
    while count < MOST:
        page = read(after)
        yield from page.items
        if page.next is None:
            return
        after, count = page.next, count + len(page.items)


ROUTES: Final = (Route(f"{IN_TENANT}/search", show_search),)
