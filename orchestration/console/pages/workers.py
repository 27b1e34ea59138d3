"""Workers, and how far their groups are behind, now and in the last hour."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.pages import Record
from orchestration.access.views.worker_groups import FRESH_MS, NewestWorkers, WorkerGroups
from orchestration.console.context import PageContext, ask
from orchestration.console.frame import frame_of
from orchestration.console.paths import PREFIX
from orchestration.console.plots import Plot, plot
from orchestration.console.rendering import shown
from orchestration.platform.clock import iso, now_ms
from orchestration.records.workers import Series, Worker
from schemas.topics import SEGMENT_WORKER_GROUP, WORKER_GROUP
from segmentation.scaling import Scaled

GROUPS: Final = {WORKER_GROUP: Scaled.WORKER, SEGMENT_WORKER_GROUP: Scaled.SEGMENT_WORKER}
SPANS: Final = (60, 360, 1440)
"""Minutes that a reader can look back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicRow:
    """A group in a topic. `as_of`: of its newest sample; `late`: partitions that are behind, with their lag.

    `now`: that sample; empty if it is older than `FRESH_MS`, which says nothing about the present.
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
class Absence:
    """A part of which no process is known to run. `since`: when it was started, if it is starting."""

    part: str
    starting: bool
    since: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkersPage:
    """`workers`: with their partitions ("0-3, 7"). `absent`: parts that come with the work.

    `part_path`: what changes, fetched again.
    """

    workers: Sequence[tuple[Worker, str]]
    absent: Sequence[Absence]
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
        running = view.newest_workers()
        newest = {(one["group"], one["topic"]): one for one in view.newest_lag()}
        page = WorkersPage(
            workers=[(one, ranges(one.partitions)) for one in running.members],
            absent=_absent(running),
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


def _absent(running: NewestWorkers) -> list[Absence]:
    present = {GROUPS.get(one.group) for one in running.members}
    found = []
    for one in running.scaled:
        if one.wanted == 0:
            found.append(Absence(part=one.part, starting=False))
        elif one.part in GROUPS.values() and one.part not in present:
            found.append(Absence(part=one.part, starting=True, since=one.given_at))
    return found


def _topic(series: Series, newest: Record | None) -> TopicRow:
    known = newest or {}
    now = known if newest is not None and newest["as_of"] > iso(now_ms() - FRESH_MS) else {}
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
