"""Every mutant against every suite that must catch it; and the tests behind each promise."""

from typing import Final

from tests.mutation.mutants import MUTANTS, SIMULATED, Mutant
from tests.mutation.running import Sighting, sight
from tests.prove.exhibits import Exhibit, Say, Scale, Section, Table
from tests.prove.kept import Kept
from tests.prove.pool import in_processes

PROMISES: Final = {
    1: "All or nothing: a version is the whole of one reconciled import; no reader sees a mix",
    2: "Accounted: every sum of the receipt holds, partition by partition, with digests",
    3: "Any step may die, repeat or run twice at once: same result",
    4: "Every bad row is named",
    5: "Rules are exact: the streaming answer is that of the batch",
    6: "Versions are immutable and pinned; a rollback is one commit",
    7: "Exports can be checked by the receiver from the manifest alone",
}


def sight_by_name(name: str, suite: str) -> Sighting:
    """`sight` for another process."""
    return sight(next(mutant for mutant in MUTANTS if mutant.name == name), suite)


def run(scale: Scale, say: Say, kept: Kept) -> Section:
    """Run all mutants. A mutant is killed when every suite that must catch it has done so."""
    work = [(mutant.name, suite) for mutant in MUTANTS for suite in mutant.caught_by]
    seen: dict[tuple[str, str], str | None] = {}
    for (name, suite), found in in_processes(
        sight_by_name, work, kept=kept, processes=scale.processes, deadline_s=scale.deadline_s
    ):
        seen[name, suite] = found.how
        say(f"{len(seen)} of {len(work)}: {name}: {'caught' if found.how else 'SURVIVED'} by {suite}")
    killed = [mutant for mutant in MUTANTS if all(seen.get((mutant.name, suite)) for suite in mutant.caught_by)]
    failures = [
        f"{mutant.name} survives {suite}" if (mutant.name, suite) in seen else f"{mutant.name}: {suite} ran out of time"
        for mutant in MUTANTS
        for suite in mutant.caught_by
        if not seen.get((mutant.name, suite))
    ]
    return Section(
        summary=f"Mutants killed: {len(killed)} / {len(MUTANTS)}.",
        text=("A mutant is the product with one bug, put there from outside. Each suite that is named must fail.",),
        tables=(
            Table(
                header=("mutant", "the bug", "caught by"),
                rows=[
                    (
                        mutant.name,
                        mutant.what,
                        "<br>".join(_described(suite, seen.get((mutant.name, suite))) for suite in mutant.caught_by),
                    )
                    for mutant in MUTANTS
                ],
            ),
            Table(
                text="Each promise, the suites that hold it up, and the mutants that they kill:",
                header=("promise", "tests", "mutants killed"),
                rows=[_promise(number, killed) for number in PROMISES],
            ),
        ),
        failures=failures,
    )


def _described(suite: str, how: str | None) -> str:
    if how is None:
        return f"**not by** {_named(suite)}"
    return (
        f"simulator: {how.replace('|', ' ')}" if suite in SIMULATED else f"`{how.replace('|', ' ')}` of {_named(suite)}"
    )


def _named(suite: str) -> str:
    return "`tests/simulation`" if suite in SIMULATED else f"`{suite}`"


def _promise(number: int, killed: list[Mutant]) -> tuple[str, str, str]:
    mine = [mutant for mutant in killed if number in mutant.promises]
    suites = sorted({suite for mutant in mine for suite in mutant.caught_by})
    return (
        f"{number}. {PROMISES[number]}",
        "<br>".join(map(_named, suites)) or "**none**",
        ", ".join(mutant.name for mutant in mine) or "**none**",
    )


COVERS: Final = (
    "connectors/lake",
    "connectors/publishing",
    "connectors/sinks",
    "connectors/sources",
    "connectors/storage",
    "connectors/verification",
    "orchestration/catalog",
    "orchestration/composition",
    "orchestration/control",
    "orchestration/kinds",
    "orchestration/operations/job_repair.py",
    "schemas",
    "segmentation",
    "streams",
    "tests/mutation",
    "tests/simulation",
    *sorted({suite.partition("::")[0] for mutant in MUTANTS for suite in mutant.caught_by} - SIMULATED),
)
"""Where the bugs are put, and the tests that must catch them."""
EXHIBIT: Final = Exhibit(name="mutants", title="Mutants", covers=COVERS, run=run)
