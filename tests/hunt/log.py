"""The log of hunts, not committed: one file per run of pytest, with one line per finished test.

`0007.jsonl` begins with the run itself (`Run`); `0007.tests` lists what pytest collected. Each line is written when a
test ends, so a hunt may be killed at any time; half a line at the end of a file is ignored.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

PASSED: Final = ("passed", "skipped")
"""Outcomes that count as a pass. A skip counts, so that a test that this machine cannot run is not hunted for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of pytest over the tests that still lack passes."""

    seed: int
    load: int
    """Runnable processes, including those of pytest."""
    tree: str
    """Hash from git: the product and its tests, including uncommitted changes."""
    began_at: str
    arguments: Sequence[str]
    """Arguments for pytest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a test ended in a run."""

    test: str
    outcome: str
    """passed, skipped, failed."""
    worker: str
    """The process that ran it."""
    seconds: float
    text: str
    """Text of a failure."""


def rank(seed: int, test: str) -> tuple[bytes, bytes]:
    """Sort key of a test in the order of a seed: files are shuffled, then the tests in each."""
    file = test.partition("::")[0]
    return _shuffled(seed, file), _shuffled(seed, test)


def _shuffled(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed} {name}".encode()).digest()


def run_files(folder: Path) -> list[Path]:
    """Files of all runs, in the order in which they began."""
    return sorted(folder.glob("*.jsonl"))


def begin(folder: Path, run: Run) -> Path:
    """Create the file of a new run."""
    number = max((int(file.stem) for file in run_files(folder)), default=0) + 1
    file = folder / f"{number:04}.jsonl"
    file.write_text(json.dumps(asdict(run)) + "\n")
    return file


def read_run(file: Path) -> Run:
    """Read the run from the first line of its file."""
    with file.open() as lines:
        return Run(**json.loads(lines.readline()))


def outcomes(file: Path) -> Iterator[Outcome]:
    """Outcomes in the order in which the tests ended."""
    with file.open() as lines:
        next(lines)
        for line in lines:
            if line.endswith("\n"):
                yield Outcome(**json.loads(line))


def write_collected(file: Path, tests: Sequence[str]) -> None:
    """Write down what the run's pytest has collected, including tests that are no longer hunted."""
    written = file.with_suffix(".writing")
    written.write_text(json.dumps(sorted(tests)))
    written.rename(file.with_suffix(".tests"))


def collected(file: Path) -> list[str]:
    """The tests that a run's pytest collected. Empty if the run ended before."""
    tests = file.with_suffix(".tests")
    found: list[str] = json.loads(tests.read_text()) if tests.exists() else []
    return found


def passes(files: Sequence[Path], tree: str | None = None) -> Counter[str]:
    """How often each test has passed since its last failure in these runs; only runs of `tree`, if it is given."""
    counted: Counter[str] = Counter()
    for file in files:
        if tree is None or read_run(file).tree == tree:
            for outcome in outcomes(file):
                counted[outcome.test] = counted[outcome.test] + 1 if outcome.outcome in PASSED else 0
    return counted


def missing(folder: Path, times: int, tree: str | None = None) -> dict[str, int]:
    """How many passes each test of the latest collection still lacks."""
    files = run_files(folder)
    passed = passes(files, tree)
    tests = next((found for file in reversed(files) if (found := collected(file))), [])
    return {test: times - passed[test] for test in tests if passed[test] < times}


def ran_until(file: Path, test: str) -> list[str]:
    """What the process that ran a test had run before it in that run, followed by the test."""
    ended = list(outcomes(file))
    worker = next(outcome.worker for outcome in ended if outcome.test == test)
    ran = [outcome.test for outcome in ended if outcome.worker == worker]
    return ran[: ran.index(test) + 1]
