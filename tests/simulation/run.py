"""Runs schedules, one seed or many, and shrinks a failing one."""

import gc
import logging
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Set
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import pyarrow as pa

from tests.simulation import patching, units
from tests.simulation.catalog import Catalog
from tests.simulation.deployment import Deployment
from tests.simulation.faults import KINDS, SEEN, Faults
from tests.simulation.patching import Holder
from tests.simulation.segments import world as segments
from tests.simulation.segments.kinds import SEGMENT_KINDS, SEGMENT_SEEN
from tests.simulation.world import World

MakeWorld = Callable[[int, Faults, Path, Holder[Any]], Deployment]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A kind of schedules. `worlds()` returns what makes the deployment of one.

    Faults cease after `faulty_steps`. After that, everything comes to rest within `calm_steps`: the liveness bound.
    """

    name: str
    kinds: Mapping[str, float]
    seen: tuple[str, ...]
    faulty_steps: int
    calm_steps: int
    patched: Callable[[Holder[Any]], AbstractContextManager[None]]
    worlds: Callable[[], MakeWorld]

    @property
    def situations(self) -> tuple[str, ...]:
        """Everything that can happen, which many schedules together must contain."""
        return (*self.kinds, *self.seen)

    def replay_command(self, seed: int) -> str:
        """The command that prints a schedule step by step."""
        return f"python -m tests.simulation {self.name} {seed}"


IMPORTS: Final = Scenario(
    name="imports",
    kinds=KINDS,
    seen=SEEN,
    faulty_steps=3_000,
    calm_steps=60_000,
    patched=patching.patched,
    worlds=lambda: partial(World, catalog=Catalog()),
)
SEGMENTS: Final = Scenario(
    name="segments",
    kinds=SEGMENT_KINDS,
    seen=SEGMENT_SEEN,
    faulty_steps=4_000,
    calm_steps=60_000,
    patched=segments.patched,
    worlds=lambda: segments.SegmentWorld,
)
UNITS: Final = Scenario(
    name="units",
    kinds=KINDS,
    seen=(),
    faulty_steps=6_000,
    calm_steps=60_000,
    patched=units.patched,
    worlds=lambda: partial(units.UnitWorld, catalog=Catalog()),
)
SCENARIOS: Final = {scenario.name: scenario for scenario in (IMPORTS, SEGMENTS, UNITS)}


@dataclass
class Result:
    """The result of a schedule. `failure`: the first invariant that did not hold."""

    seed: int
    failure: str | None = None
    where: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    struck: list[str] = field(default_factory=list)
    steps: int = 0
    published: int = 0  # versions of audiences, or changes of memberships


class Simulator:
    """Runs schedules one after the other, on one patched product."""

    def __init__(self, scenario: Scenario, holder: Holder[Any], temp: Path) -> None:
        self._scenario = scenario
        self._holder = holder
        self._temp = temp
        self._world = scenario.worlds()

    def run(self, seed: int, *, without: Set[str] = frozenset(), verbose: bool = False) -> Result:
        """Run one schedule."""
        faults = Faults(seed, without, self._scenario.kinds)
        world = self._world(seed, faults, self._temp, self._holder)
        if verbose:
            faults.say = world.kernel.trace = world.say
        result = Result(seed=seed)
        try:
            world.run(self._scenario.faulty_steps, self._scenario.calm_steps)
        except Exception as exc:  # noqa: BLE001  # whatever it is, the schedule has found it
            result.failure = f"{type(exc).__name__}: {exc}"
            result.where = traceback.format_exc()
        finally:
            world.close()
        result.counts, result.struck = faults.counts, faults.struck
        result.steps = world.kernel.steps
        result.published = world.published
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
def simulator(scenario: Scenario) -> Iterator[Simulator]:
    """A simulator for any number of schedules."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # thousands of small, short-lived files
    threads = pa.cpu_count()
    with (
        tempfile.TemporaryDirectory(prefix="muster-simulation-", dir=memory) as temp,
        patch("tempfile.tempdir", temp),
        scenario.patched(holder := Holder[Any]()),
    ):
        disabled = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        pa.set_cpu_count(1)  # handing two rows to a pool takes longer than the work
        try:
            yield Simulator(scenario, holder, Path(temp))
        finally:
            pa.set_cpu_count(threads)
            logging.disable(disabled)


def run_many(scenario: Scenario, seeds: Iterable[int]) -> Generator[Result, None, None]:
    """Run schedules in order."""
    with simulator(scenario) as simulating:
        for number, seed in enumerate(seeds):
            yield simulating.run(seed)
            if number % 100 == 99:
                gc.collect()


def run_seeds(
    scenario: Scenario,
    first: int,
    count: int,
    deadline_s: float,
    *,
    report: Callable[[Result], object] = lambda _: None,
) -> list[Result]:
    """Run schedules from a seed on until `count` or the deadline is reached. Returns the failed ones.

    `report` receives each result as its schedule ends, for totals and for the seeds of the range.
    """
    ends = time.monotonic() + deadline_s
    failures = list[Result]()
    results = run_many(scenario, range(first, first + count))
    while time.monotonic() < ends and (result := next(results, None)) is not None:
        report(result)
        if result.failure is not None:
            failures.append(result)
    results.close()
    return failures
