"""Find anything of a tenant by a part of its name or id: audiences, segments, schedules, jobs; and a user by the id."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

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

READ: Final = 500
"""Names of one kind, of which those that begin with the part come first."""
MOST: Final = 10_000
"""Jobs that are counted."""
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
        "audiences": [one.audience for one in audiences.list_audiences(part=part, limit=READ).items],
        "segments": [one.segment for one in segments.list_segments(part=part, limit=READ).items],
        "schedules": [one.name for one in schedules.list_schedules(part=part, limit=READ).items],
    }
    counts = {
        "audiences": audiences.count_audiences(part=part),
        "segments": segments.count_segments(part=part),
        "schedules": schedules.count_schedules(part=part),
    }
    for kind, fits in names.items():
        fits.sort(key=lambda one: (not one.startswith(part), one))
        items = [Named(name=one, path=_path(context, kind, one)) for one in fits[:SHOWN]]
        yield Found(kind=kind, count=counts[kind], items=items)
    if context.may(Action.READ_JOBS):
        yield _jobs(context, part, t)


def _path(context: PageContext, kind: str, name: str) -> str:
    if kind == "schedules":  # they share a page
        parts = (name, "edit") if context.may(Action.RUN_JOBS) else ()
        return in_tenant(context.tenant, kind, *parts)
    return in_tenant(context.tenant, kind, name)


def _jobs(context: PageContext, part: str, t: Texts) -> Found:
    view = context.view(Jobs)
    fits = view.list_jobs(part=part, limit=SHOWN).items
    items = [
        Named(
            name=f"{title_of(one, t)} · {t(f'state.{one.state}')} · …{id_of(one)[-6:]}",
            path=in_tenant(context.tenant, "jobs", id_of(one)),
        )
        for one in fits
    ]
    return Found(kind="jobs", count=view.count_jobs(part=part, most=MOST), items=items)


ROUTES: Final = (Route(f"{IN_TENANT}/search", show_search),)
