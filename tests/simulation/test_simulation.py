"""Schedules of the whole product on simulated servers: nobody is lost, doubled or mixed in, and every job ends."""

import os
from collections import Counter

import pytest

from tests.simulation.faults import KINDS, SEEN
from tests.simulation.run import replay_command, run_many, simulator

SCHEDULES = int(os.environ.get("MUSTER_SCHEDULES", "2000"))


@pytest.mark.timeout(3600)
def test_no_schedule_loses_doubles_or_mixes_members_and_every_job_ends() -> None:
    counts: Counter[str] = Counter()
    versions = 0
    for result in run_many(range(SCHEDULES)):
        assert result.failure is None, f"{result.failure}\nReplay it: {replay_command(result.seed)}"
        counts += result.counts
        versions += result.versions
    missing = [kind for kind in (*KINDS, *SEEN) if not counts[kind]]
    assert not missing, f"never took place: {missing}"
    assert versions > SCHEDULES // 2


def test_a_seed_gives_the_same_history_again() -> None:
    histories = []
    for _ in range(2):
        with simulator() as simulating:
            histories.append([(r.steps, r.struck, r.versions) for r in map(simulating.run, range(40, 50))])
    assert histories[0] == histories[1]
