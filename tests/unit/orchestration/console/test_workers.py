"""The page of workers, and its plots."""

from dataclasses import replace

import pytest

from orchestration.catalog.samples import GroupState, TopicSample
from orchestration.catalog.tables import wanted_counts
from orchestration.console.language import Texts
from orchestration.console.pages.workers import ranges
from orchestration.console.plots import HEIGHT, WIDTH, hourly, plot, staircase
from orchestration.platform.clock import iso, now_ms
from schemas.topics import WORKER_GROUP
from segmentation.scaling import Scaled
from tests.fakes.asgi import Answer, AsgiClient
from tests.fakes.tenants import World
from tests.unit.orchestration.console.pages import OWN
from tests.unit.orchestration.console.test_pages import WellFormed

PAGE = "/console/workers"


def page(client: AsgiClient, world: World, caller: str = "deployment-admin", *, language: str = "en") -> Answer:
    token = world.tokens[caller].text.reveal()
    return client.get(PAGE, token=token, headers={**OWN, "Accept-Language": language})


def sample(world: World, *, lag: int, ago_s: int, now: int, group: str = "g") -> None:
    """A group with one worker, which was sampled so long ago."""
    at_ms = now - now % 10_000 - 1000 * ago_s
    worker = {"worker": "w-1", "host": "node", "pid": 7, "address": "", "group": group, "partitions": [0, 1, 3]}
    one = TopicSample(at_ms=at_ms, group=group, topic="muster.topic", members=1, lag=lag, acknowledged=0, sent=0)
    state = GroupState(group=group, at_ms=at_ms, workers=[worker], lag={"muster.topic": [0, lag]})
    world.services.samples.put([one], [state], now_ms=at_ms)


@pytest.mark.parametrize("language", ["en", "ja"])
def test_page_shows_workers_partitions_and_lag(client: AsgiClient, world: World, language: str) -> None:
    now = now_ms()
    for ago_s, lag in ((40, 2), (30, 1), (10, 0), (0, 1234)):
        sample(world, lag=lag, ago_s=ago_s, now=now)
    text = page(client, world, language=language).body.decode()
    assert WellFormed(text).faults == WellFormed(text).open == []
    assert "0–1, 3" in text
    assert "1: 1,234" in text
    assert text.count("<polyline") == 4, "lag and rate, each with a gap where nothing was measured"


def test_outdated_samples_are_not_shown_as_current(client: AsgiClient, world: World) -> None:
    sample(world, lag=1234, ago_s=60, now=now_ms())
    text = page(client, world).body.decode()
    assert "Unknown" in text
    assert "1: 1,234" not in text


def want(world: World, counts: tuple[int, int, int, int], *, given_ms: int | None) -> None:
    """So many import workers, segment workers, feeders and control planes."""
    with world.services.database.write() as connection:
        connection.execute(wanted_counts.delete())
        for part, count in zip(Scaled, counts, strict=True):
            values = {"part": part, "count": count, "needed_ms": 0, "worked_ms": 0, "applied_ms": given_ms}
            connection.execute(wanted_counts.insert().values(values))


@pytest.mark.parametrize("language", ["en", "ja"])
def test_page_says_which_parts_rest_and_which_are_starting(
    client: AsgiClient, world: World, monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    monkeypatch.setitem(vars(world.services), "settings", replace(world.settings, min_workers=0, min_segment_workers=0))
    texts, now = Texts("ja" if language == "ja" else "en"), now_ms()

    def shown() -> str:
        return page(client, world, language=language).body.decode()

    sample(world, lag=0, ago_s=60, now=now, group=WORKER_GROUP)  # of before they left
    want(world, (0, 0, 0, 0), given_ms=now)
    text = shown()
    assert [part for part in Scaled if texts(f"workers.rests.{part}") in text] == list(Scaled)
    assert "node" not in text
    assert texts("workers.none") not in text
    want(world, (1, 0, 0, 1), given_ms=now)
    text = shown()
    assert texts("workers.starts.worker") in text
    assert f'data-since="{iso(now)}"' in text
    assert texts("workers.rests.relay") not in text
    sample(world, lag=1, ago_s=0, now=now, group=WORKER_GROUP)
    text = shown()
    assert texts("workers.starts.worker") not in text
    assert "node" in text


def test_workers_page_requires_a_deployment_operator(client: AsgiClient, world: World) -> None:
    assert page(client, world, "acme-admin").status == 403
    assert 'href="/console/workers?from=acme"' in page(client, world).body.decode()


@pytest.mark.parametrize(
    ("numbers", "text"), [([], "–"), ([4], "4"), ([2, 0, 1], "0–2"), ([0, 1, 3, 5, 6], "0–1, 3, 5–6")]
)
def test_partitions_are_written_as_ranges(numbers: list[int], text: str) -> None:
    assert ranges(numbers) == text


def test_a_gap_is_not_drawn_as_zero() -> None:
    drawn = plot([5, 10, None, None, 0])
    assert drawn.lines == [
        f"0.0,{HEIGHT / 2:.1f} {WIDTH / 4:.1f},0.0",
        f"{WIDTH * 0.875:.1f},{HEIGHT:.1f} {WIDTH:.1f},{HEIGHT:.1f}",
    ]
    assert drawn.most == 10
    assert (plot([None]).lines, plot([]).most) == ([], None)
    assert hourly({"2026-01-01T02:00:00.000Z": 4, "2026-01-01T04:00:00.000Z": 2}) == plot([4, None, 2])
    hours = [f"2026-01-01T0{hour}:00:00.000Z" for hour in range(5)]
    held = staircase([(hours[0], 4), (hours[2], 2)], hours[4]).lines
    up, half, mid, right = "0.0", f"{HEIGHT / 2:.1f}", f"{WIDTH / 2:.1f}", f"{WIDTH:.1f}"
    assert held == [f"0.0,{up} {mid},{up} {mid},{half} {right},{half} {right},{half}"]
    assert staircase([], hours[4]) == hourly({}) == plot([])
    assert plot([0, 0]).lines == [f"0.0,{HEIGHT:.1f} {WIDTH:.1f},{HEIGHT:.1f}"]
