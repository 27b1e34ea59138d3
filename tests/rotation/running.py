"""Runs a slice in two lanes, one per core: tests of the tier and properties beside schedules and faulted imports."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, Final

from tests.examples import ROTATING
from tests.faults.sweep import Planned, sweep
from tests.prove.exhibits import Say
from tests.rotation.choice import SCHEDULES, SEGMENT_SCHEDULES, UNIT_SCHEDULES, Slice
from tests.simulation.run import IMPORTS, SEGMENTS, UNITS, Result, Scenario, run_seeds

ROOT: Final = Path(__file__).parents[2]
SCHEDULES_S: Final = 80.0
SEGMENT_SCHEDULES_S: Final = 60.0
UNIT_SCHEDULES_S: Final = 30.0
"""No further schedule begins after this time."""
IMPORTS_S: Final = 120.0
NOTHING_TO_RUN: Final = 5
"""pytest's exit code."""
TIER: Final = "faults and not containers"
TIER_IN_CONTAINERS: Final = "faults and containers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The results of a slice. `failures` end with the command that repeats the failing piece."""

    tests: int
    schedules: int
    imports: int
    failures: tuple[str, ...]


def tests_of_the_tier(tier: str) -> dict[str, float]:
    """Seconds by test id, for every test of a tier."""
    # Only files that can contain one: collecting all of them takes as long as a small slice.
    files = [str(path) for path in ROOT.glob("tests/**/test_*.py") if "mark.faults" in path.read_text(encoding="utf-8")]
    with TemporaryDirectory() as folder:
        found = Path(folder) / "seconds.json"
        plugin = ["-p", "tests.rotation.collecting", f"--seconds-to={found}"]
        command = [sys.executable, "-m", "pytest", "--collect-only", "-qq", "-m", tier, *plugin, *files]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode not in (0, NOTHING_TO_RUN):
            raise RuntimeError(f"pytest could not collect the tests of the tier:\n{done.stdout}{done.stderr}")
        seconds: dict[str, float] = json.loads(found.read_text(encoding="utf-8"))
    return seconds


def files_of_properties() -> tuple[str, ...]:
    """The files of properties, one of which is in each slice."""
    return tuple(sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("tests/property/test_*.py")))


def run(chosen: Slice, say: Say) -> Outcome:
    """Run the whole slice. Takes about five minutes on two cores."""
    tests = ["-m", TIER, *chosen.tests]
    drawn = [f"--hypothesis-profile={ROTATING}", f"--hypothesis-seed={chosen.seed}"]
    properties = [*drawn, "-m", f"not ({TIER})", chosen.properties]
    with _pytest(tests) as (testing, output), _pytest(properties) as (trying, examples):
        schedules, failures = _schedules(IMPORTS, chosen.first_schedule, SCHEDULES, SCHEDULES_S, say)
        more, failed = _schedules(SEGMENTS, chosen.first_schedule, SEGMENT_SCHEDULES, SEGMENT_SCHEDULES_S, say)
        schedules, failures = schedules + more, failures + failed
        more, failed = _schedules(UNITS, chosen.first_schedule, UNIT_SCHEDULES, UNIT_SCHEDULES_S, say)
        schedules, failures = schedules + more, failures + failed
        swept = sweep(_until(chosen, time.monotonic() + IMPORTS_S), report=say)
        failures += swept.wrong
        for arguments, process, said in ((tests, testing, output), (properties, trying, examples)):
            code = process.wait()
            said.seek(0)
            say(said.read())
            if code not in (0, NOTHING_TO_RUN):
                failures.append(f"tests failed; again: pytest {' '.join(map(_quoted, arguments))}")
    return Outcome(tests=len(chosen.tests), schedules=schedules, imports=len(swept.results), failures=tuple(failures))


def _quoted(test: str) -> str:
    return f"'{test}'"


@contextmanager
def _pytest(arguments: Sequence[str]) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """pytest in a separate process, with its output; it is stopped at the end of the block."""
    with TemporaryFile("w+", encoding="utf-8") as output:
        command = [sys.executable, "-m", "pytest", *arguments]
        testing = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output, text=True)
        try:
            yield testing, output
        finally:
            testing.terminate()
            testing.wait()


def _schedules(scenario: Scenario, first: int, count: int, seconds: float, say: Say) -> tuple[int, list[str]]:
    ran = list[Result]()
    failed = run_seeds(scenario, first, count, seconds, report=ran.append)
    seeds = f"seeds {first} to {first + len(ran) - 1}"
    say(f"schedules of {scenario.name}: {len(ran)} of {count} ran, {seeds}, {len(failed)} failed")
    return len(ran), [f"{result.failure}; again: {scenario.replay_command(result.seed)}" for result in failed]


def _until(chosen: Slice, deadline: float) -> Iterator[Planned]:
    for planned in chosen.imports:
        if time.monotonic() > deadline:
            return
        yield planned
