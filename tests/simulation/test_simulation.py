"""Schedules of the whole product on simulated servers: no member is lost, doubled or mixed in, and every job ends."""

from collections import Counter

import pytest

from tests.simulation.faults import KINDS, SEEN
from tests.simulation.run import replay_command, run_many, run_seeds, simulator
from tests.simulation.seeds import SEEDS

LEAST = 3
"""Minimum count of everything that can happen, so that one history more or less does not matter."""


@pytest.mark.slow("184 schedules, one after the other, in one process")
@pytest.mark.timeout(900)
def test_no_schedule_loses_duplicates_or_mixes_members_and_every_job_ends() -> None:
    counts: Counter[str] = Counter()
    versions = 0
    for result in run_many(SEEDS):
        assert result.failure is None, f"{result.failure}\nReplay it: {replay_command(result.seed)}"
        counts += result.counts
        versions += result.versions
    rare = [kind for kind in (*KINDS, *SEEN) if counts[kind] < LEAST]
    assert not rare, f"hardly took place: {rare}; pin seeds that have them (tests/simulation/seeds.py)"
    assert versions > len(SEEDS) // 2


def test_seed_reproduces_its_history() -> None:
    histories = []
    for _ in range(2):
        with simulator() as simulating:
            histories.append([(r.steps, r.struck, r.versions) for r in map(simulating.run, range(40, 42))])
    assert histories[0] == histories[1]


def test_range_of_seeds_ends_by_count_or_time() -> None:
    ran = list[int]()
    assert run_seeds(1_000_042, 2, 600.0, report=lambda result: ran.append(result.seed)) == []
    assert ran == [1_000_042, 1_000_043]
    assert run_seeds(1_000_042, 1_000_000, 0.0, report=lambda result: ran.append(result.seed)) == []
    assert len(ran) == 2
