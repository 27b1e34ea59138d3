"""Schedules of the whole product on simulated servers.

Imports: no member is lost, doubled or mixed in, and every job ends. Segments: whoever reads the log of changes has the
members that the whole log says, at every position.
"""

from collections import Counter

import pytest

from tests.simulation.run import IMPORTS, SEGMENTS, UNITS, Scenario, run_many, run_seeds, simulator
from tests.simulation.seeds import SEEDS

LEAST = 3
"""Minimum count of everything that can happen, so that one history more or less does not matter."""


def published_by_all_seeds(scenario: Scenario) -> int:
    """Run the schedules of `make test`."""
    counts: Counter[str] = Counter()
    published = 0
    for result in run_many(scenario, SEEDS[scenario.name].all):
        assert result.failure is None, f"{result.failure}\nReplay it: {scenario.replay_command(result.seed)}"
        counts += result.counts
        published += result.published
    rare = [kind for kind in scenario.situations if counts[kind] < LEAST]
    assert not rare, f"hardly took place: {rare}; pin seeds that have them (tests/simulation/seeds.py)"
    return published


@pytest.mark.slow("184 schedules, one after the other, in one process")
@pytest.mark.timeout(900)
def test_no_schedule_loses_duplicates_or_mixes_members_and_every_job_ends() -> None:
    assert published_by_all_seeds(IMPORTS) > len(SEEDS["imports"].all) // 2


@pytest.mark.slow("52 schedules, one after the other, in one process")
@pytest.mark.timeout(900)
def test_changes_of_every_schedule_give_the_members_that_the_whole_log_says() -> None:
    assert published_by_all_seeds(SEGMENTS) > 5 * len(SEEDS["segments"].all)


@pytest.mark.slow("24 schedules, one after the other, in one process")
@pytest.mark.timeout(900)
def test_sets_whose_units_die_freeze_and_repeat_are_published_whole_or_not_at_all() -> None:
    counts: Counter[str] = Counter()
    published = 0
    for result in run_many(UNITS, SEEDS["units"].all):
        assert result.failure is None, f"{result.failure}\nReplay it: {UNITS.replay_command(result.seed)}"
        counts += result.counts
        published += result.published
    assert published > len(SEEDS["units"].all)
    of_units = ("invocation killed", "invocation frozen", "invocation answer lost", "worker killed")
    assert [kind for kind in of_units if counts[kind] < LEAST] == []


@pytest.mark.parametrize(("scenario", "seed"), [(IMPORTS, 40), (SEGMENTS, 1)], ids=["imports", "segments"])
def test_seed_reproduces_its_history(scenario: Scenario, seed: int) -> None:
    histories = []
    for _ in range(2):
        with simulator(scenario) as simulating:
            histories.append([(r.steps, r.struck, r.published) for r in map(simulating.run, range(seed, seed + 2))])
    assert histories[0] == histories[1]


def test_range_of_seeds_ends_by_count_or_time() -> None:
    ran = list[int]()
    assert run_seeds(IMPORTS, 1_000_042, 2, 600.0, report=lambda result: ran.append(result.seed)) == []
    assert ran == [1_000_042, 1_000_043]
    assert run_seeds(IMPORTS, 1_000_042, 1_000_000, 0.0, report=lambda result: ran.append(result.seed)) == []
    assert len(ran) == 2
