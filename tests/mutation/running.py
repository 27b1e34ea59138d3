"""Checks whether a suite sees a bug. Tests run in a separate process; schedules run in this one."""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.examples import UNSHRUNK
from tests.mutation.mutants import SCHEDULES, SEGMENT_SCHEDULES, UNIT_SCHEDULES, Mutant
from tests.mutation.patches import installed
from tests.simulation.run import IMPORTS, SEGMENTS, UNITS, Scenario, simulator
from tests.simulation.seeds import SEEDS

ROOT: Final = Path(__file__).parents[2]
TIMEOUT_S: Final = 600
TESTS_FAILED: Final = 1
"""pytest's exit code; others mean that the tests did not run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """The result of a suite on a mutant. `how`: what caught it, None if nothing did."""

    suite: str
    how: str | None


def sight(mutant: Mutant, suite: str) -> Sighting:
    """Run a suite on the product with the bug. Raises RuntimeError if its tests cannot be run."""
    scenario = {SCHEDULES: IMPORTS, SEGMENT_SCHEDULES: SEGMENTS, UNIT_SCHEDULES: UNITS}.get(suite)
    return _tests(mutant, suite) if scenario is None else _schedules(mutant, suite, scenario)


def _schedules(mutant: Mutant, suite: str, scenario: Scenario) -> Sighting:
    """Run the schedules of `make test`, starting with the ones pinned for this mutant."""
    seeds = SEEDS[scenario.name]
    with simulator(scenario) as simulating, installed(mutant.bug):
        for seed in sorted(seeds.all, key=lambda seed: mutant.name not in seeds.pinned.get(seed, ())):
            if (found := simulating.run(seed).failure) is not None:
                return Sighting(suite=suite, how=f"seed {seed}: {' '.join(found.split())[:160]}")
    return Sighting(suite=suite, how=None)


def _tests(mutant: Mutant, suite: str) -> Sighting:
    with tempfile.TemporaryDirectory(prefix="muster-mutant-") as temp:
        try:
            ran = subprocess.run(
                [
                    *(sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider"),
                    *("-p", "tests.mutation.plugin", "--hypothesis-profile", UNSHRUNK),
                    *("--basetemp", temp, "--durations=0", suite),
                ],
                cwd=ROOT,
                env={**os.environ, "MUSTER_MUTANT": mutant.name},
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Sighting(suite=suite, how=None)  # the machine may have caused the hang
    if ran.returncode == 0:
        return Sighting(suite=suite, how=None)
    failed = [line for line in ran.stdout.splitlines() if line.startswith("FAILED ")]
    if ran.returncode != TESTS_FAILED or not failed:
        raise RuntimeError(f"{suite} could not be run with {mutant.name!r}:\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    return Sighting(suite=suite, how=failed[0].removeprefix("FAILED ").partition(" - ")[0].partition("::")[2])
