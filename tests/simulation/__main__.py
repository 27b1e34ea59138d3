"""`python -m tests.simulation SEED`: replay a schedule, first made smaller when it fails, and print it step by step."""

import argparse
import sys

from tests.simulation.run import simulator


def main(arguments: list[str]) -> int:
    """Exit code 1 when the schedule fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Replay a schedule, step by step.")
    parser.add_argument("seed", type=int)
    parser.add_argument(
        "--as-it-is", action="store_true", help="do not leave out faults that the failure does not need"
    )
    given = parser.parse_args(arguments)
    with simulator() as simulating:
        without = frozenset[str]()
        if simulating.run(given.seed).failure is not None and not given.as_it_is:
            without = simulating.shrink(given.seed)[1]
        result = simulating.run(given.seed, without=without, verbose=True)
    print(f"\nseed {result.seed}: {result.steps} steps, {result.versions} versions, faults: {', '.join(result.struck)}")
    if result.failure is None:
        print("nothing was wrong")
        return 0
    print(f"{result.failure}\n{result.where}")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
