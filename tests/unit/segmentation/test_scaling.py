from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmentation.scaling import (
    WORKER_BYTES,
    WORKER_LAG,
    Demand,
    GroupDemand,
    Limits,
    Range,
    Scaled,
    Wanted,
    desired,
)

IDLE_MS = 600_000
NOW = 10_000_000
ON_DEMAND = Limits(workers=Range(least=0, most=4), segment_workers=Range(least=0, most=4), idle_ms=IDLE_MS)
AWAKE = replace(ON_DEMAND, workers=Range(least=1, most=4))
IDLE = Demand()
UNSEEN = GroupDemand(lag=None)
COUNTED = (Scaled.WORKER, Scaled.SEGMENT_WORKER, Scaled.RELAY)


def counts(wanted: Mapping[Scaled, Wanted]) -> tuple[int, int, int]:
    """Workers, segment workers, control planes."""
    return wanted[Scaled.WORKER].count, wanted[Scaled.SEGMENT_WORKER].count, wanted[Scaled.RELAY].count


def wanted(workers: int, segment_workers: int, relays: int, *, at_ms: int = NOW) -> dict[Scaled, Wanted]:
    """Counts that were last needed at a time."""
    all_of = dict(zip(Scaled, (workers, segment_workers, 0, relays), strict=True))
    return {part: Wanted(count=count, needed_ms=at_ms, worked_ms=at_ms) for part, count in all_of.items()}


@pytest.mark.parametrize(
    ("demand", "expected"),
    [
        (IDLE, (0, 0, 0)),
        (Demand(imports=GroupDemand(jobs=1, size_bytes=20)), (1, 0, 1)),
        (Demand(imports=GroupDemand(jobs=4, size_bytes=WORKER_BYTES + 1)), (2, 0, 1)),
        (Demand(imports=GroupDemand(jobs=17)), (2, 0, 1)),
        (Demand(imports=GroupDemand(jobs=1000, size_bytes=99 * WORKER_BYTES)), (4, 0, 1)),
        (Demand(imports=GroupDemand(lag=1)), (1, 0, 1)),
        (Demand(activity=GroupDemand(lag=WORKER_LAG + 1)), (0, 2, 1)),
        (Demand(segments=7), (0, 1, 1)),
        (Demand(other=1), (0, 0, 1)),
    ],
)
def test_work_wants_its_workers_at_once(demand: Demand, expected: tuple[int, int, int]) -> None:
    assert counts(desired(demand, {}, ON_DEMAND, NOW)) == expected


def test_minimum_runs_without_work_and_keeps_the_control_plane() -> None:
    assert counts(desired(IDLE, {}, AWAKE, NOW)) == (1, 0, 1)
    assert counts(desired(IDLE, wanted(1, 0, 1, at_ms=0), AWAKE, NOW)) == (1, 0, 1)


def test_everything_leaves_together_after_the_idle_time() -> None:
    before = wanted(4, 2, 1, at_ms=NOW)
    assert counts(desired(IDLE, before, ON_DEMAND, NOW + IDLE_MS - 1)) == (4, 2, 1)
    assert counts(desired(IDLE, before, ON_DEMAND, NOW + IDLE_MS)) == (0, 0, 0)


def test_import_workers_leave_while_segments_are_evaluated() -> None:
    assert counts(desired(Demand(segments=1), wanted(4, 2, 1, at_ms=0), ON_DEMAND, NOW)) == (0, 1, 1)


def test_count_of_a_burst_falls_to_that_of_a_steady_trickle() -> None:
    trickle = Demand(imports=GroupDemand(jobs=1))
    state = wanted(4, 0, 1)
    for minute in range(10):
        state = desired(trickle if minute % 2 else IDLE, state, ON_DEMAND, NOW + minute * 60_000)
        assert counts(state) == (4, 0, 1)
    state = desired(IDLE, state, ON_DEMAND, NOW + IDLE_MS)
    assert counts(state) == (1, 0, 1)  # work is one minute ago, though not as much
    assert counts(desired(IDLE, state, ON_DEMAND, NOW + 2 * IDLE_MS)) == (0, 0, 0)


@pytest.mark.parametrize("group", [GroupDemand(jobs=1, moving=1), GroupDemand(lag=1), UNSEEN])
def test_no_count_falls_while_its_group_has_anything_open(group: GroupDemand) -> None:
    old = wanted(3, 3, 1, at_ms=0)
    assert counts(desired(Demand(imports=group), old, ON_DEMAND, NOW))[0] == 3
    assert counts(desired(Demand(activity=group), old, ON_DEMAND, NOW))[1] == 3


def test_control_plane_stays_while_the_lag_is_unknown() -> None:
    assert counts(desired(Demand(imports=UNSEEN), wanted(0, 0, 1, at_ms=0), ON_DEMAND, NOW)) == (0, 0, 1)


def test_workers_that_stay_keep_a_control_plane() -> None:
    before = wanted(2, 0, 0) | {Scaled.RELAY: Wanted()}
    assert counts(desired(IDLE, before, ON_DEMAND, NOW)) == (2, 0, 1)


def test_clock_behind_the_last_work_stops_nothing() -> None:
    assert counts(desired(IDLE, wanted(2, 1, 1, at_ms=NOW), ON_DEMAND, NOW - 3 * IDLE_MS)) == (2, 1, 1)


groups = st.builds(
    GroupDemand,
    jobs=st.integers(0, 200),
    size_bytes=st.integers(0, 6) | st.integers(0, 9 * WORKER_BYTES),
    moving=st.integers(0, 3),
    lag=st.integers(0, 3) | st.integers(0, 9 * WORKER_LAG),
)
demands = st.builds(Demand, imports=groups, activity=groups, segments=st.integers(0, 2), other=st.integers(0, 2))
ranges = st.tuples(st.integers(0, 3), st.integers(1, 5)).map(lambda two: Range(least=min(two), most=two[1]))
limits = st.builds(Limits, workers=ranges, segment_workers=ranges, idle_ms=st.just(IDLE_MS))
times = st.integers(NOW - 2 * IDLE_MS, NOW + IDLE_MS)
one_part = st.builds(Wanted, count=st.integers(0, 5), needed_ms=times, worked_ms=times)
states = st.fixed_dictionaries(dict.fromkeys(Scaled, one_part))


@given(demands, states, limits)
def test_counts_are_within_their_limits(demand: Demand, before: Mapping[Scaled, Wanted], bounds: Limits) -> None:
    found = counts(desired(demand, before, bounds, NOW))
    for count, allowed in zip(found, (bounds.workers, bounds.segment_workers, bounds.control_planes), strict=True):
        assert allowed.least <= count <= allowed.most
    assert found[2] or not any(found), "workers have a control plane"


@given(demands, demands, states, limits)
def test_more_work_never_wants_fewer(one: Demand, two: Demand, before: Mapping[Scaled, Wanted], bounds: Limits) -> None:
    both = Demand(
        imports=more(one.imports, two.imports),
        activity=more(one.activity, two.activity),
        segments=one.segments + two.segments,
        other=one.other + two.other,
    )
    less, most = (counts(desired(demand, before, bounds, NOW)) for demand in (one, both))
    assert all(a <= b for a, b in zip(less, most, strict=True))


def more(one: GroupDemand, two: GroupDemand) -> GroupDemand:
    assert one.lag is not None
    assert two.lag is not None
    return GroupDemand(
        jobs=one.jobs + two.jobs,
        size_bytes=one.size_bytes + two.size_bytes,
        moving=one.moving + two.moving,
        lag=one.lag + two.lag,
    )


@given(demands, states, limits)
def test_unknown_lag_lets_no_count_fall(demand: Demand, before: Mapping[Scaled, Wanted], bounds: Limits) -> None:
    unseen = replace(demand, imports=replace(demand.imports, lag=None), activity=replace(demand.activity, lag=None))
    was = counts(before)
    most = (bounds.workers.most, bounds.segment_workers.most, 1)
    found = counts(desired(unseen, before, bounds, NOW))
    assert all(count >= min(old, top) for count, old, top in zip(found, was, most, strict=True))


@given(st.lists(st.tuples(demands | st.just(IDLE), st.integers(1, IDLE_MS)), max_size=20))
def test_last_worker_leaves_only_after_the_idle_time(history: list[tuple[Demand, int]]) -> None:
    state: dict[Scaled, Wanted] = {}
    now, worked = NOW, dict.fromkeys(Scaled, 0)
    for demand, pause_ms in history:
        now += pause_ms
        state = desired(demand, state, ON_DEMAND, now)
        needed = (demand.imports.workers > 0, demand.activity.workers + demand.segments > 0, demand != IDLE)
        for part, has_work, count in zip(COUNTED, needed, counts(state), strict=True):
            worked[part] = now if has_work else worked[part]
            assert (count > 0) == (now - worked[part] < IDLE_MS), part


def test_active_feeds_have_one_feeder_until_the_idle_time_after_the_last() -> None:
    feeding = desired(Demand(feeds=7), {}, ON_DEMAND, NOW)
    assert feeding[Scaled.FEEDER].count == 1
    assert desired(IDLE, feeding, ON_DEMAND, NOW + IDLE_MS - 1)[Scaled.FEEDER].count == 1
    assert desired(IDLE, feeding, ON_DEMAND, NOW + IDLE_MS)[Scaled.FEEDER].count == 0
