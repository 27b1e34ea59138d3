"""Feeds: where each delivers to, how far it is, and why nothing is delivered; a form that creates one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, get_args

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.bodies.feeds import FeedChange, NewFeed
from orchestration.access.policy import Action
from orchestration.access.revisions import Seen, revision_of
from orchestration.access.views.feeds import Feeds
from orchestration.access.views.segments import Segments
from orchestration.api.service import asked_in_tenant
from orchestration.console.context import PageContext, ask
from orchestration.console.forms import form_of
from orchestration.console.frame import frame_of
from orchestration.console.job_texts import ICONS, Badge, Tone
from orchestration.console.language import Texts
from orchestration.console.paths import IN_TENANT, in_tenant, next_page, page_start
from orchestration.console.rendering import see_other, shown
from orchestration.records.feeds import Feed, FeedShape, FeedStart
from schemas.errors import UserError

ROWS: Final = 30
SEGMENTS: Final = 500
"""In the choice of the form."""
SHAPES: Final = get_args(FeedShape)
STARTS: Final = get_args(FeedStart)
CHANGES: Final = {
    "pause": FeedChange(state="paused"),
    "resume": FeedChange(state="active"),
    "skip": FeedChange(state="active", skip=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedRow:
    """`trouble`: why nothing is delivered."""

    feed: Feed
    badge: Badge
    trouble: str
    revision: str
    state_path: str
    rewind_path: str
    delete_path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedsPage:
    """Feeds by name. `segments`: those that a new one can deliver."""

    rows: Sequence[FeedRow]
    may_change: bool
    segments: Sequence[str]
    create_path: str
    next_path: str | None
    shapes: Sequence[str] = SHAPES
    starts: Sequence[str] = STARTS


async def show_feeds(request: Request) -> Response:
    """The page."""
    after = page_start(request) or ""

    def call(context: PageContext) -> Response:
        frame = frame_of(request, context, "feeds")
        found, may_change = context.view(Feeds).list_feeds(after=after, limit=ROWS), context.may(Action.RUN_JOBS)
        segments = context.view(Segments).list_segments(limit=SEGMENTS).items if may_change else ()
        page = FeedsPage(
            rows=[_row(one, context.tenant, frame.texts) for one in found.items],
            may_change=may_change,
            segments=[one.segment for one in segments],
            create_path=in_tenant(context.tenant, "feeds", "new"),
            next_path=next_page(request, found.next),
        )
        return shown("feeds.html", frame, page)

    return await ask(request, call)


def _row(feed: Feed, tenant: str, t: Texts) -> FeedRow:
    tone: Tone = "good" if feed.phase == "changes" else "waiting"
    text: str = feed.phase
    if feed.state != "active":
        tone, text = ("bad" if feed.state == "halted" else "neutral"), feed.state
    elif feed.trouble is not None:
        tone = "retrying"
    return FeedRow(
        feed=feed,
        badge=Badge(tone=tone, icon=ICONS[tone], text=t(f"feeds.{text}")),
        trouble="" if feed.trouble is None else str(feed.trouble["message"]),
        revision=revision_of(feed, feed.revision),
        state_path=in_tenant(tenant, "feeds", feed.name, "state"),
        rewind_path=in_tenant(tenant, "feeds", feed.name, "rewind"),
        delete_path=in_tenant(tenant, "feeds", feed.name, "deletion"),
    )


async def create(request: Request) -> Response:
    """Create what the form says."""
    form, tenant = await form_of(request), request.path_params["tenant"]
    body = NewFeed.model_validate({name: form.get(name, "").strip() for name in NewFeed.model_fields})
    await asked_in_tenant(request, Feeds, tenant, Feeds.create_feed, body)
    return await ask(request, _back)


async def set_state(request: Request) -> Response:
    """Pause, resume, or resume without what is refused."""
    form, name = await form_of(request), request.path_params["feed"]
    if (change := CHANGES.get(form.get("change", ""))) is None:
        raise UserError("BAD_BODY", "the form cannot be read; load the page again")

    def call(context: PageContext) -> Response:
        context.view(Feeds).change_feed(name, change, seen=Seen(form.get("revision", "")))
        return _back(context)

    return await ask(request, call)


async def rewind(request: Request) -> Response:
    """Begin again; the page has asked."""
    form, name = await form_of(request), request.path_params["feed"]

    def call(context: PageContext) -> Response:
        context.view(Feeds).rewind_feed(name, seen=Seen(form.get("revision", "")))
        return _back(context)

    return await ask(request, call)


async def delete(request: Request) -> Response:
    """Delete; the page has asked."""
    form, name = await form_of(request), request.path_params["feed"]

    def call(context: PageContext) -> Response:
        context.view(Feeds).delete_feed(name, seen=Seen(form.get("revision", "")))
        return _back(context)

    return await ask(request, call)


def _back(context: PageContext) -> Response:
    return see_other(in_tenant(context.tenant, "feeds"))


ROUTES: Final = (
    Route(f"{IN_TENANT}/feeds", show_feeds),
    Route(f"{IN_TENANT}/feeds/new", create, methods=["POST"]),
    Route(f"{IN_TENANT}/feeds/{{feed}}/state", set_state, methods=["POST"]),
    Route(f"{IN_TENANT}/feeds/{{feed}}/rewind", rewind, methods=["POST"]),
    Route(f"{IN_TENANT}/feeds/{{feed}}/deletion", delete, methods=["POST"]),
)
