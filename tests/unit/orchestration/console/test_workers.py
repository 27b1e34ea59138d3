"""The page of workers, and its plots."""

import pytest

from orchestration.catalog.samples import GroupState, TopicSample
from orchestration.console.pages.workers import ranges
from orchestration.console.plots import HEIGHT, WIDTH, plot
from orchestration.platform.clock import now_ms
from tests.fakes.asgi import Answer, AsgiClient
from tests.fakes.tenants import World
from tests.unit.orchestration.console.pages import OWN
from tests.unit.orchestration.console.test_pages import WellFormed

PAGE = "/console/workers"


def page(client: AsgiClient, world: World, caller: str = "deployment-admin", *, language: str = "en") -> Answer:
    token = world.tokens[caller].text.reveal()
    return client.get(PAGE, token=token, headers={**OWN, "Accept-Language": language})


def sample(world: World, *, lag: int, ago_s: int, now: int) -> None:
    """A group with one worker, which was sampled so long ago."""
    at_ms = now - now % 10_000 - 1000 * ago_s
    worker = {"worker": "w-1", "host": "node", "pid": 7, "address": "", "group": "g", "partitions": [0, 1, 3]}
    one = TopicSample(at_ms=at_ms, group="g", topic="muster.topic", members=1, lag=lag, acknowledged=0, sent=0)
    state = GroupState(group="g", at_ms=at_ms, workers=[worker], lag={"muster.topic": [0, lag]})
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


def test_workers_page_requires_a_deployment_operator(client: AsgiClient, world: World) -> None:
    assert page(client, world, "acme-admin").status == 403
    assert 'href="/console/workers"' in page(client, world).body.decode()


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
    assert plot([0, 0]).lines == [f"0.0,{HEIGHT:.1f} {WIDTH:.1f},{HEIGHT:.1f}"]
