"""The content of a tree's rotating slice: a pure function of the tree's hash, so that anyone can run it again."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.faults.kinds import KINDS
from tests.faults.sweep import Planned

TESTS_S: Final = 170.0
"""Seconds of tests in a slice, as declared by their markers, and of the stacks that they share."""
CONTAINERS_S: Final = 90.0
"""Seconds of tests in a slice in containers."""
STACKS: Final = ("tests/e2e/", "tests/integration/shared/", "tests/integration/whole/")
STACK_S: Final = 20.0
"""Seconds until the stack of such a folder is there; tests with a stack of their own include it."""
SCHEDULES: Final = 400
SEGMENT_SCHEDULES: Final = 100
UNIT_SCHEDULES: Final = 10
IMPORTS: Final = 6
ROWS: Final = 1_500
UNIT_SHARE: Final = 0.5
"""Of the slices, whose faulted imports run on a stack that cuts files into units."""
FIRST_SCHEDULE: Final = 1_000_000
LAST_SCHEDULE: Final = 1_000_000_000
"""Rotating schedules never repeat those of `make test` or `make prove`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One slice. `first_schedule` is the first of `SCHEDULES` consecutive seeds."""

    tree: str
    tests: tuple[str, ...]
    first_schedule: int
    imports: tuple[Planned, ...]
    properties: str
    """The file of properties that runs with new examples."""
    seed: int
    """Of these examples."""


def slice_of(tree: str, tests: Mapping[str, float], properties: Sequence[str]) -> Slice:
    """The slice of a tree. `tests`: seconds by test id, for every test of the tier. `properties`: files.

    A test that takes longer than a whole slice is in none; `make test-faults` runs it.
    """
    dice = random.Random(f"rotation {tree}")
    first = dice.randrange(FIRST_SCHEDULE, LAST_SCHEDULE)
    kinds = dice.sample(sorted(KINDS), IMPORTS)
    seeds = [dice.randrange(2**31) for _ in kinds]
    units = dice.random() < UNIT_SHARE
    imports = tuple(
        Planned(kind=kind, seed=seed, rows=ROWS, units=units) for kind, seed in zip(kinds, seeds, strict=True)
    )
    chosen = _as_many_as_fit(_shuffled(dice, tests), tests, TESTS_S)
    return Slice(
        tree=tree,
        tests=chosen,
        first_schedule=first,
        imports=imports,
        properties=dice.choice(sorted(properties)),
        seed=dice.randrange(2**31),
    )


def slice_in_containers(tree: str, tests: Mapping[str, float]) -> tuple[str, ...]:
    """The tests in containers that belong to the slice of the tree."""
    return _as_many_as_fit(_shuffled(random.Random(f"containers {tree}"), tests), tests, CONTAINERS_S)


def _shuffled(dice: random.Random, tests: Mapping[str, float]) -> list[str]:
    order = sorted(tests)
    dice.shuffle(order)
    return order


def _as_many_as_fit(order: Sequence[str], seconds: Mapping[str, float], limit_s: float) -> tuple[str, ...]:
    chosen: list[str] = []
    started = set[str]()
    used = 0.0
    for test in order:
        stack = {folder for folder in STACKS if test.startswith(folder)} - started
        takes = seconds[test] + STACK_S * len(stack)
        if used + takes <= limit_s:
            chosen.append(test)
            started |= stack
            used += takes
    return tuple(chosen)
