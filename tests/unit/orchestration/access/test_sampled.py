"""Samples as columns for plots: a gap stays a gap."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestration.access.sampled import MAX_POINTS, present_lag, series, step_ms
from orchestration.catalog.engine import Database
from orchestration.catalog.samples import GroupState, SampleStore, TopicSample
from schemas.topics import IMPORTS, WORKER_GROUP
from tests.fakes.catalog import catalog_in

NOW = 1_800_000_005_000
SLOT = 10_000
START = NOW - NOW % SLOT
MINUTE = 60_000


def sample(slots_ago: int, *, lag: int = 0, acknowledged: int = 0, members: int = 1) -> TopicSample:
    return TopicSample(
        at_ms=START - slots_ago * SLOT,
        group=WORKER_GROUP,
        topic=IMPORTS,
        members=members,
        lag=lag,
        acknowledged=acknowledged,
        sent=acknowledged + lag,
    )


@pytest.fixture
def store(tmp_path: Path) -> SampleStore:
    url = catalog_in(tmp_path)
    return SampleStore(Database(url))


def put(store: SampleStore, *samples: TopicSample) -> None:
    store.put(samples, [], now_ms=NOW)


def columns(store: SampleStore, span_ms: int) -> dict[str, Sequence[object]]:
    found = series(store, span_ms=span_ms, now_ms=NOW)
    (item,) = found.items
    assert {len(getattr(item, name)) for name in ("members", "lag", "acknowledged_per_s", "sent_per_s")} == {
        -(-span_ms // (found.step_s * 1000))
    }
    return {name: getattr(item, name) for name in ("members", "lag", "acknowledged_per_s")}


def test_missing_samples_leave_gaps_in_values_and_rates(store: SampleStore) -> None:
    put(
        store,
        sample(5, acknowledged=0),
        sample(4, acknowledged=50, lag=7),
        sample(1, acknowledged=90),
        sample(0, acknowledged=100, members=0),
    )
    assert columns(store, MINUTE) == {
        "members": [1, 1, None, None, 1, 0],
        "lag": [0, 7, None, None, 0, 0],
        "acknowledged_per_s": [None, 5.0, None, None, None, 1.0],
    }


def test_first_rate_uses_the_sample_before_the_span(store: SampleStore) -> None:
    put(store, sample(6, acknowledged=10), sample(5, acknowledged=30))
    assert columns(store, MINUTE)["acknowledged_per_s"][0] == 2.0


def test_recreated_topic_has_no_rate(store: SampleStore) -> None:
    put(store, sample(1, acknowledged=90), sample(0, acknowledged=3))
    assert columns(store, MINUTE)["acknowledged_per_s"][-1] is None


def test_longer_steps_keep_the_worst_sample(store: SampleStore) -> None:
    """Two hours have steps of 20 s."""
    put(store, sample(3), sample(2, acknowledged=40), sample(1, acknowledged=60, lag=9, members=0))
    put(store, sample(0, acknowledged=100, lag=1))
    found = columns(store, 120 * MINUTE)
    assert [found["members"][-2:], found["lag"][-2:]] == [[0, 1], [9, 1]]
    assert found["acknowledged_per_s"][-2:] == [3.0, 4.0]


@pytest.mark.parametrize("minutes", [1, 59, 60, 61, 720, 1439, 1440])
def test_points_of_a_span_are_limited(minutes: int) -> None:
    step = step_ms(minutes * MINUTE)
    assert step % SLOT == 0
    assert minutes * MINUTE / step <= MAX_POINTS
    assert minutes <= 60 or minutes * MINUTE / (step - SLOT) > MAX_POINTS


def test_empty_samples_make_an_empty_plot(store: SampleStore) -> None:
    assert series(store, span_ms=MINUTE, now_ms=NOW).items == []
    assert present_lag(store) == {}


def test_last_measurement_is_kept_with_its_time(store: SampleStore) -> None:
    state = GroupState(group=WORKER_GROUP, at_ms=START - 100 * SLOT, workers=[], lag={IMPORTS: [4, 1]})
    store.put([sample(100, lag=5)], [state], now_ms=NOW)
    (lag,) = present_lag(store).values()
    assert (lag["lag"], lag["partitions"], lag["acknowledged_per_s"]) == (5, [4, 1], None)
    assert lag["as_of"] < series(store, span_ms=MINUTE, now_ms=NOW).first_at
