"""The crash sweep: many faulted imports on one stack, readers throughout, and a table of the results.

`make prove` and the tests call `run(scale)`; people run `python -m tests.faults`.
"""

import itertools
import shutil
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from orchestration.composition import administration
from tests.faults.imports import Audiences, Result, faulted_import, left_behind
from tests.faults.kinds import KINDS, LINKS
from tests.faults.readers import Lake, Reader
from tests.faults.stack import FaultedStack, faulted_stack
from tests.integration.workers import committed_everything
from tests.waiting import until

Scale = Literal["slice", "full"]
FIRST_SEED: Final = 20_261_126
SLICE: Final = (
    *("kill importer", "kill verifier", "kill worker", "kill publisher", "freeze worker", "freeze publisher"),
    *("kill kafka", "kill s3", "kill catalog", "kill engine", "kill relay", "disk full server", "disk full worker"),
    *("disk error server", "lose s3", "lose kafka", "lose publish", "lose engine", "reset kafka", "truncate s3"),
    "fence kafka",
)
"""Each fault of processes, servers and disks, each link, four of the harms."""
SLICE_ROWS: Final = 1_500
UNIT_ROWS: Final = 3_000
"""Of files that are cut into units, each with two processes to start."""
FULL: Final = {"kill importer": 50, "kill verifier": 36, "kill worker": 40, "kill publisher": 50} | {
    f"lose {what}": 15 for what in (*LINKS, "publish")
}
"""Imports per kind in the full sweep: one for each write that `KINDS` counts, many for lost replies, else `OTHERS`."""
OTHERS: Final = 4
SEEDS_A_KIND: Final = 1_000
TRIES: Final = 3
"""A fault that did not strike during the import is tried again on other files."""
OTHER_FILE: Final = 100_000
"""Added to the seed: larger than the seeds of all kinds together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One faulted import, by the name of its kind. `rows`: size of the file, unless the kind needs another.

    `units`: on a stack that cuts the file into units.
    """

    kind: str
    seed: int
    rows: int | None = None
    units: bool = False

    @property
    def rows_needed(self) -> int | None:
        """Rows of the file. None: by the seed."""
        return UNIT_ROWS if self.units else KINDS[self.kind].rows or self.rows

    @property
    def again(self) -> str:
        """The command that runs only this import."""
        rows = "" if self.rows is None else f" --rows {self.rows}"
        return f"python -m tests.faults --kind '{self.kind}' --seed {self.seed}{rows}{' --units' * self.units}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table: how the imports under one kind of fault ended."""

    kind: str
    imports: int
    struck: int
    ready: int
    failed: int
    causes: str
    violations: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """All results, what the readers did, and `violations` of the whole sweep, beside those of single imports."""

    results: tuple[Result, ...]
    reads: int
    outages: int
    violations: tuple[str, ...]

    @property
    def wrong(self) -> list[str]:
        """Every violation."""
        return [*self.violations, *(f"{r.kind}, seed {r.seed}: {v}" for r in self.results for v in r.violations)]

    def rows(self) -> list[Row]:
        """Rows by kind, in the order of `KINDS`."""
        return [_row(name, [r for r in self.results if r.kind == name]) for name in KINDS if self._has(name)]

    def _has(self, name: str) -> bool:
        return any(r.kind == name for r in self.results)


def joined(sweeps: Iterable[Sweep]) -> Sweep:
    """Combine sweeps that ran concurrently into one."""
    parts = list(sweeps)
    return Sweep(
        results=tuple(result for part in parts for result in part.results),
        reads=sum(part.reads for part in parts),
        outages=sum(part.outages for part in parts),
        violations=tuple(violation for part in parts for violation in part.violations),
    )


def _row(name: str, results: list[Result]) -> Row:
    causes = Counter(r.cause for r in results if r.cause)
    return Row(
        kind=name,
        imports=len(results),
        struck=sum(r.struck for r in results),
        ready=sum(r.state == "READY" for r in results),
        failed=sum(r.state == "FAILED" for r in results),
        causes=", ".join(f"{code} {count}" for code, count in sorted(causes.items())),
        violations=sum(len(r.violations) for r in results),
    )


def plan(scale: Scale) -> list[Planned]:
    """What runs, in this order: the kinds alternate, and of the full sweep every second import has units."""
    if scale == "slice":
        return [Planned(kind=name, seed=FIRST_SEED + n, rows=SLICE_ROWS) for n, name in enumerate(SLICE)]
    seeds = [
        [Planned(kind=name, seed=FIRST_SEED + place * SEEDS_A_KIND + turn) for turn in range(FULL.get(name, OTHERS))]
        for place, name in enumerate(KINDS)
    ]
    alternating = [planned for turn in itertools.zip_longest(*seeds) for planned in turn if planned is not None]
    return [replace(planned, units=number % 2 == 1) for number, planned in enumerate(alternating)]


def run(scale: Scale, *, report: Callable[[str], None] = print) -> list[Row]:
    """Run the sweep and return its table. Raises `AssertionError` with every violation."""
    done = sweep(plan(scale), report=report)
    assert not done.wrong, "\n".join(done.wrong)
    return done.rows()


def sweep(faults: Iterable[Planned], *, report: Callable[[str], None] = print, keep: Path | None = None) -> Sweep:
    """Run these imports one after the other, consecutive ones with or without units on a stack of their own.

    If something failed, keep the logs in a folder and report it.
    """
    return joined(
        _on_one_stack(alike, units=units, report=report, keep=keep)
        for units, alike in itertools.groupby(faults, key=lambda planned: planned.units)
    )


def _on_one_stack(faults: Iterable[Planned], *, units: bool, report: Callable[[str], None], keep: Path | None) -> Sweep:
    folder = Path(tempfile.mkdtemp(prefix="muster-faults-"))
    wrong = True
    try:
        with faulted_stack(folder, units=units) as stack:
            done = _on(stack, folder, _possible(stack, faults, report), report)
        wrong = bool(done.wrong)
        return done
    finally:
        if wrong:
            kept = keep or Path(tempfile.mkdtemp(prefix="muster-faults-logs-"))
            for name in ("logs", "faults"):
                shutil.copytree(folder / "home" / name, kept / name, dirs_exist_ok=True)
            report(f"the logs are kept in {kept}")
        shutil.rmtree(folder, ignore_errors=True)


def _possible(stack: FaultedStack, faults: Iterable[Planned], report: Callable[[str], None]) -> Iterator[Planned]:
    for planned in faults:
        if why := KINDS[planned.kind].impossible(postgres=stack.has_postgres):
            report(f"{planned.kind}, seed {planned.seed}: left out: {why}")
        else:
            yield planned


def _on(stack: FaultedStack, folder: Path, faults: Iterable[Planned], report: Callable[[str], None]) -> Sweep:
    audiences = Audiences()
    results: list[Result] = []
    violations: list[str] = []
    with (
        closing(Lake(stack.settings)) as lake,
        Reader(stack.settings, [a.published for a in audiences]) as reader,
    ):
        for number, planned in enumerate(faults):
            kind = KINDS[planned.kind]
            try:
                for seed in range(planned.seed, planned.seed + TRIES * OTHER_FILE, OTHER_FILE):
                    file, audience = audiences.choose(folder, number, seed, rows=planned.rows_needed)
                    result = faulted_import(stack, lake, audience, kind, file, seed=planned.seed)
                    if result.struck or result.violations:
                        break
            except KeyboardInterrupt:
                violations.append("interrupted: the table is of what was done until then")
                break
            except Exception:  # noqa: BLE001 - whatever it is, the sweep ends with it, and says where it was
                violations.append(f"{kind.name}, seed {planned.seed}: {traceback.format_exc()}")
                report(f"{violations[-1]}  again: {planned.again}")
                break
            results.append(result)
            report(_line(result, planned))
    violations += reader.violations
    if not violations:
        violations += afterwards(stack)
    return Sweep(results=tuple(results), reads=reader.reads, outages=reader.outages, violations=tuple(violations))


def _line(result: Result, planned: Planned) -> str:
    text = f"{result.kind}, seed {result.seed}: struck {result.struck}, {result.state} {result.cause}"
    lines = [f"{text.rstrip()} after {result.seconds:.1f} s"]
    if result.violations:
        lines += [f"  VIOLATION: {violation}" for violation in result.violations]
        lines.append(f"  again: {planned.again}")
    return "\n".join(lines)


def afterwards(stack: FaultedStack) -> list[str]:
    """What is wrong once all jobs have ended: leftovers, stores that disagree, messages that were not consumed."""
    found = [f"still staged: {key}" for key in left_behind(stack)]
    found += [
        f"fsck: {f.code} {f.subject}: {f.message}"
        for f in administration.fsck(stack.context).run().findings
        if f.severity == "wrong"
    ]
    try:
        until(lambda: committed_everything(stack.settings))
    except AssertionError:
        found.append("workers have not acknowledged everything")
    return found
