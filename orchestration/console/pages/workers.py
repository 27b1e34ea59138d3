"""Workers, and how far their groups are behind, now and in the last hour."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.pages import Record
from orchestration.access.views.worker_groups import WorkerGroups
from orchestration.console.context import PageContext, ask
from orchestration.console.frame import frame_of
from orchestration.console.paths import PREFIX
from orchestration.console.plots import Plot, plot
from orchestration.console.rendering import shown
from orchestration.platform.clock import iso, now_ms
from orchestration.records.workers import Series, Worker

FRESH_S: Final = 30
SPANS: Final = (60, 360, 1440)
"""Minutes that a reader can look back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicRow:
    """A group in a topic. `as_of`: of its newest sample; `late`: partitions that are behind, with their lag.

    `now`: that sample; empty if it is older than `FRESH_S`, which says nothing about the present.
    """

    series: Series
    now: Record
    as_of: str | None
    lag_plot: Plot
    acknowledged_plot: Plot
    late: Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A choice of how far to look back, in hours."""

    hours: int
    path: str
    chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkersPage:
    """`workers`: with their partitions ("0-3, 7"). `part_path`: what changes, fetched again."""

    workers: Sequence[tuple[Worker, str]]
    topics: Sequence[TopicRow]
    spans: Sequence[Span]
    hours: int
    part_path: str


async def show_workers(request: Request) -> Response:
    """The page."""
    return await _answer(request, "workers.html")


async def show_part(request: Request) -> Response:
    """What changes of it."""
    return await _answer(request, "parts/workers.html")


async def _answer(request: Request, template: str) -> Response:
    given = request.query_params.get("minutes", "")
    minutes = next((span for span in SPANS if given == str(span)), SPANS[0])

    def call(context: PageContext) -> Response:
        frame, view = frame_of(request, context, "workers"), context.in_deployment(WorkerGroups)
        series = view.list_samples(minutes=minutes).items
        newest = {(one["group"], one["topic"]): one for one in view.newest_lag()}
        page = WorkersPage(
            workers=[(one, ranges(one.partitions)) for one in view.newest_workers()],
            topics=[_topic(one, newest.get((one.group, one.topic))) for one in series],
            spans=[
                Span(hours=span // 60, path=f"{PREFIX}/workers?minutes={span}", chosen=span == minutes)
                for span in SPANS
            ],
            hours=minutes // 60,
            part_path=f"{PREFIX}/workers/part?minutes={minutes}",
        )
        return shown(template, frame, page)

    return await ask(request, call)


def _topic(series: Series, newest: Record | None) -> TopicRow:
    known = newest or {}
    now = known if newest is not None and newest["as_of"] > iso(now_ms() - 1000 * FRESH_S) else {}
    partitions: Sequence[int] = now.get("partitions", ())
    return TopicRow(
        series=series,
        now=now,
        as_of=known.get("as_of"),
        lag_plot=plot(series.lag),
        acknowledged_plot=plot(series.acknowledged_per_s),
        late=[(number, lag) for number, lag in enumerate(partitions) if lag],
    )


def ranges(numbers: Sequence[int]) -> str:
    """Numbers in order as "0-3, 7"; a dash for none."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(one[0]) if len(one) == 1 else f"{one[0]}–{one[-1]}" for one in parts) or "–"


ROUTES: Final = (Route(f"{PREFIX}/workers", show_workers), Route(f"{PREFIX}/workers/part", show_part))
