"""`python -m tests.simulation imports SEED`: replay a schedule step by step; a failing one is shrunk first.

`python -m tests.simulation segments --from SEED --count N`: run a range of schedules and report the ones that failed.
"""

import argparse
import sys
from collections import Counter

from tests.simulation.run import SCENARIOS, Result, Scenario, run_seeds, simulator


def main(arguments: list[str]) -> int:
    """Return exit code 1 if a schedule fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Replay schedules.")
    parser.add_argument("scenario", choices=SCENARIOS, help="what is simulated")
    parser.add_argument("seed", type=int, nargs="?", help="the one to print, step by step")
    parser.add_argument(
        "--as-it-is", action="store_true", help="do not leave out faults that the failure does not need"
    )
    parser.add_argument("--from", type=int, dest="first", help="the first of a range")
    parser.add_argument("--count", type=int, default=100, help="how many of them")
    parser.add_argument("--minutes", type=float, default=60.0, help="the longest time for the range")
    parser.add_argument("--having", help="name those in which this took place")
    given = parser.parse_args(arguments)
    if (given.seed is None) == (given.first is None):
        parser.error("a seed, or --from")
    scenario = SCENARIOS[given.scenario]
    if given.having not in {None, *scenario.situations}:
        parser.error(f"--having: one of {', '.join(scenario.situations)}")
    if given.first is not None:
        return run_range(scenario, given.first, given.count, 60 * given.minutes, having=given.having)
    return replay(scenario, given.seed, as_it_is=given.as_it_is)


def replay(scenario: Scenario, seed: int, *, as_it_is: bool) -> int:
    """Replay one schedule step by step."""
    with simulator(scenario) as simulating:
        without = frozenset[str]()
        if simulating.run(seed).failure is not None and not as_it_is:
            without = simulating.shrink(seed)[1]
        result = simulating.run(seed, without=without, verbose=True)
    print(
        f"\nseed {result.seed}: {result.steps} steps, {result.published} published, faults: {', '.join(result.struck)}"
    )
    if result.failure is None:
        print("nothing was wrong")
        return 0
    print(f"{result.failure}\n{result.where}")
    return 1


def run_range(scenario: Scenario, first: int, count: int, deadline_s: float, *, having: str | None) -> int:
    """Run many schedules and print their results."""
    total = Counter[str]()

    def report(result: Result) -> None:
        total["schedules"] += 1
        total["published"] += result.published
        if having is not None and result.counts[having]:
            print(f"seed {result.seed}: {having}, {result.counts[having]} times")
        if result.failure is not None:
            print(
                f"seed {result.seed}: {result.failure}\nReplay it: {scenario.replay_command(result.seed)}", flush=True
            )

    failures = run_seeds(scenario, first, count, deadline_s, report=report)
    print(
        f"{total['schedules']} of {count} schedules from seed {first} on, {total['published']} published: "
        f"{len(failures)} failed"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
