"""Segments: the list, and the page of one with its members, rules and dependents."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.policy import Action
from orchestration.access.revisions import revision_of
from orchestration.access.views.segments import Segments
from orchestration.console.context import PageContext, ask
from orchestration.console.formatting import duration
from orchestration.console.forms import fresh_key
from orchestration.console.frame import frame_of
from orchestration.console.job_texts import Badge
from orchestration.console.language import Texts
from orchestration.console.listing import ListFilter, Wanted, filter_of
from orchestration.console.pages.live import live
from orchestration.console.paths import IN_TENANT, in_tenant, next_page, page_start
from orchestration.console.plots import Plot, hourly
from orchestration.console.rendering import shown
from orchestration.console.segment_texts import Named, Uses, badge_of, dependants, members_text, parsed_rule, uses_of
from orchestration.records.segments import RuleVersion, Segment, SegmentDetail, SegmentSize
from schemas.ids import snapshot_audience

ROWS: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentRow:
    """One segment."""

    segment: Segment
    path: str
    row_path: str
    badge: Badge
    members: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentsPage:
    """`new_path`: None for those who may not create one."""

    rows: Sequence[SegmentRow]
    filter: ListFilter
    path: str
    next_path: str | None
    first: bool
    new_path: str | None
    stream: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPart:
    """One row, fetched again."""

    row: SegmentRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """What workers say of a segment at this moment."""

    segment: SegmentDetail
    path: str
    badge: Badge
    members: str
    lag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NowPart:
    """The same, fetched again."""

    now: Now


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How many members it had. `since`: the first known hour of the last 30 days."""

    members: int
    since: str
    plot: Plot


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentPage:
    """`path`: its address, below which it is changed. `seen`: its revision; `key`: idempotency key of a snapshot.

    `sizes` None: fewer than two hours are known.
    """

    segment: SegmentDetail
    path: str
    edit_path: str
    seen: str
    key: str
    may_change: bool
    may_snapshot: bool
    now: Now
    export_path: str | None
    snapshot_audience: str
    sizes: Sizes | None
    versions: Sequence[RuleVersion]
    uses: Sequence[Uses]
    used_by: Sequence[Named]
    unexcluded: Sequence[Named]
    stream: str


async def show_segments(request: Request) -> Response:
    """The list."""
    wanted = Wanted.of(request)
    after = page_start(request, **wanted.query)

    def call(context: PageContext) -> Response:
        frame = frame_of(request, context, "segments")
        view, tenant = context.view(Segments), context.tenant
        found = view.list_segments(part=wanted.part, order=wanted.order, after=after or "", limit=ROWS)
        path = in_tenant(tenant, "segments")
        page = SegmentsPage(
            rows=[row_of(one, tenant, frame.texts) for one in found.items],
            filter=filter_of(wanted, path, lambda part: view.count_segments(part=part), frame.texts),
            path=in_tenant(tenant, "segments", **wanted.query),
            next_path=next_page(request, found.next, **wanted.query),
            first=after is None,
            new_path=in_tenant(tenant, "builder") if context.may(Action.WRITE_SEGMENTS) else None,
            stream=live(tenant, "segment"),
        )
        return shown("segments.html", frame, page)

    return await ask(request, call)


def row_of(segment: Segment, tenant: str, t: Texts) -> SegmentRow:
    """A segment as its row."""
    return SegmentRow(
        segment=segment,
        path=in_tenant(tenant, "segments", segment.segment),
        row_path=in_tenant(tenant, "segments", segment.segment, "row"),
        badge=badge_of(segment, t),
        members=members_text(segment, t),
    )


async def show_row(request: Request) -> Response:
    """One row, as it is now."""

    def call(context: PageContext) -> Response:
        frame = frame_of(request, context, "segments")
        found = context.view(Segments).get_segment(request.path_params["segment"])
        return shown("parts/segment_row.html", frame, RowPart(row=row_of(found, context.tenant, frame.texts)))

    return await ask(request, call)


async def show_segment(request: Request) -> Response:
    """The page of a segment."""

    def call(context: PageContext) -> Response:
        frame = frame_of(request, context, "segments")
        view, name, t = context.view(Segments), request.path_params["segment"], frame.texts
        found = view.get_segment(name)
        page = SegmentPage(
            segment=found,
            now=_now(found, context.tenant, t),
            export_path=in_tenant(context.tenant, "segments", name, "export") if context.may(Action.RUN_JOBS) else None,
            snapshot_audience=snapshot_audience(found.segment),
            sizes=_sizes(view.list_segment_sizes(name)),
            versions=view.list_rule_versions(name)[::-1],
            uses=uses_of(parsed_rule(found), context.tenant, t),
            used_by=dependants(context, name, t),
            unexcluded=[
                Named(name=one, path=in_tenant(context.tenant, "audiences", one)) for one in found.unexcluded_lists
            ],
            path=in_tenant(context.tenant, "segments", name),
            edit_path=in_tenant(context.tenant, "builder", segment=name),
            seen=revision_of(found, found.revision),
            key=fresh_key(),
            may_change=context.may(Action.WRITE_SEGMENTS),
            may_snapshot=context.may(Action.RUN_JOBS),
            stream=live(context.tenant, "segment"),
        )
        return shown("segment.html", frame, page)

    return await ask(request, call)


def _sizes(found: Sequence[SegmentSize]) -> Sizes | None:
    if len(found) < 2:
        return None
    return Sizes(members=found[-1].members, since=found[0].hour, plot=hourly({one.hour: one.members for one in found}))


async def show_now(request: Request) -> Response:
    """The part of a segment's page that is live."""

    def call(context: PageContext) -> Response:
        frame = frame_of(request, context, "segments")
        found = context.view(Segments).get_segment(request.path_params["segment"])
        return shown("parts/segment_now.html", frame, NowPart(now=_now(found, context.tenant, frame.texts)))

    return await ask(request, call)


def _now(segment: SegmentDetail, tenant: str, t: Texts) -> Now:
    return Now(
        segment=segment,
        path=in_tenant(tenant, "segments", segment.segment, "now"),
        badge=badge_of(segment, t),
        members=members_text(segment, t),
        lag="" if segment.lag_s is None else t("segment.lag", duration=duration(segment.lag_s, t)),
    )


ROUTES: Final = (
    Route(f"{IN_TENANT}/segments", show_segments),
    Route(f"{IN_TENANT}/segments/{{segment}}", show_segment),
    Route(f"{IN_TENANT}/segments/{{segment}}/now", show_now),
    Route(f"{IN_TENANT}/segments/{{segment}}/row", show_row),
)
