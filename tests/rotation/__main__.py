"""`python -m tests.rotation`: run the slice of the committed tree, or of another one (`--tree`).

The exit code is 1 if something failed. A failing schedule, import or test becomes a fixed case of `make test` before
anything lands: changing the tree until the slice passes is not a fix.
"""

import argparse
import subprocess
import sys

from tests.rotation.choice import SCHEDULES, SEGMENT_SCHEDULES, UNIT_SCHEDULES, slice_in_containers, slice_of
from tests.rotation.running import ROOT, TIER, TIER_IN_CONTAINERS, files_of_properties, run, tests_of_the_tier
from tests.trees import committed_tree


def main(arguments: list[str]) -> int:
    """Print what runs and how to run it again, then run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.rotation", description=__doc__)
    parser.add_argument("--tree", help="hash of a tree, as a run has printed it (default: that of HEAD)")
    parser.add_argument("--list", action="store_true", help="print the slice without running it")
    parser.add_argument("--containers", action="store_true", help="the slice of `make test-container-faults` instead")
    given = parser.parse_args(arguments)
    if given.containers:
        return _in_containers(given.tree or committed_tree(), only_list=given.list)
    chosen = slice_of(given.tree or committed_tree(), tests_of_the_tier(TIER), files_of_properties())
    print(f"slice of tree {chosen.tree}; again: python -m tests.rotation --tree {chosen.tree}")
    print(
        f"  {SCHEDULES} schedules of imports, {SEGMENT_SCHEDULES} of segments and {UNIT_SCHEDULES} of units "
        f"from seed {chosen.first_schedule}"
    )
    print(f"  {chosen.properties} with examples from seed {chosen.seed}")
    for planned in chosen.imports:
        print(f"  faulted import: {planned.again}")
    for test in chosen.tests:
        print(f"  {test}", flush=True)
    if given.list:
        return 0
    outcome = run(chosen, lambda text: print(text, flush=True))
    for failure in outcome.failures:
        print(f"FAILED: {failure}")
    print(
        f"slice: {outcome.tests} tests, {outcome.schedules} schedules, {outcome.imports} faulted imports, "
        f"{len(outcome.failures)} failures"
    )
    return 1 if outcome.failures else 0


def _in_containers(tree: str, *, only_list: bool) -> int:
    tests = slice_in_containers(tree, tests_of_the_tier(TIER_IN_CONTAINERS))
    print(f"slice of tree {tree} in containers; again: python -m tests.rotation --containers --tree {tree}")
    for test in tests:
        print(f"  {test}", flush=True)
    if only_list:
        return 0
    command = [sys.executable, "-m", "pytest", "-m", TIER_IN_CONTAINERS, *tests]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
