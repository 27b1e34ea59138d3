"""Runs schedules, one seed or many, and shrinks a failing one."""

import gc
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa

from tests.simulation.catalog import Catalog
from tests.simulation.faults import Faults
from tests.simulation.patching import Holder, patched
from tests.simulation.world import World

FAULTY_STEPS = 3_000
"""Faults cease after this many steps."""
CALM_STEPS = 60_000
"""After that, every job ends within this many steps: the liveness bound."""


@dataclass
class Result:
    """The result of a schedule. `failure`: the first invariant that did not hold."""

    seed: int
    failure: str | None = None
    where: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    struck: list[str] = field(default_factory=list)
    steps: int = 0
    versions: int = 0


class Simulator:
    """Runs schedules one after the other, on one patched product and one database."""

    def __init__(self, holder: Holder, temp: Path) -> None:
        self._holder = holder
        self._temp = temp
        self._catalog = Catalog()

    def run(self, seed: int, *, without: Set[str] = frozenset(), verbose: bool = False) -> Result:
        """Run one schedule."""
        faults = Faults(seed, without)
        world = World(seed, self._catalog, faults, self._temp, self._holder)
        if verbose:
            faults.say = world.kernel.trace = world.say
        result = Result(seed=seed)
        try:
            world.run(FAULTY_STEPS, CALM_STEPS)
        except Exception as exc:  # noqa: BLE001  # whatever it is, the schedule has found it
            result.failure = f"{type(exc).__name__}: {exc}"
            result.where = traceback.format_exc()
        finally:
            world.close()
        result.counts, result.struck = faults.counts, faults.struck
        result.steps = world.kernel.steps
        result.versions = sum(map(len, world.oracle.made.values()))
        return result

    def shrink(self, seed: int) -> tuple[Result, frozenset[str]]:
        """Shrink a failing schedule: leave out kinds of faults one by one, then single faults, while it still fails."""
        best, without = self.run(seed), frozenset[str]()
        for candidates in (sorted({name.split("#")[0] for name in best.struck}), None):
            for name in candidates or list(best.struck):
                tried = self.run(seed, without=without | {name})
                if tried.failure is not None:
                    best, without = tried, without | {name}
        return best, without


@contextmanager
def simulator() -> Iterator[Simulator]:
    """A simulator for any number of schedules."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # thousands of small, short-lived files
    threads = pa.cpu_count()
    with (
        tempfile.TemporaryDirectory(prefix="muster-simulation-", dir=memory) as temp,
        patch("tempfile.tempdir", temp),
        patched() as holder,
    ):
        pa.set_cpu_count(1)  # handing two rows to a pool takes longer than the work
        try:
            yield Simulator(holder, Path(temp))
        finally:
            pa.set_cpu_count(threads)


def run_many(seeds: Iterable[int]) -> Generator[Result, None, None]:
    """Run schedules in order."""
    with simulator() as simulating:
        for number, seed in enumerate(seeds):
            yield simulating.run(seed)
            if number % 100 == 99:
                gc.collect()


def run_seeds(
    first: int, count: int, deadline_s: float, *, report: Callable[[Result], object] = lambda _: None
) -> list[Result]:
    """Run schedules from a seed on until `count` or the deadline is reached. Returns the failed ones.

    `report` receives each result as its schedule ends, for totals and for the seeds of the range.
    """
    ends = time.monotonic() + deadline_s
    failures = list[Result]()
    results = run_many(range(first, first + count))
    while time.monotonic() < ends and (result := next(results, None)) is not None:
        report(result)
        if result.failure is not None:
            failures.append(result)
    results.close()
    return failures


def replay_command(seed: int) -> str:
    """The command that prints a schedule step by step."""
    return f"python -m tests.simulation {seed}"
