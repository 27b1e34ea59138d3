"""`python -m tests.hunt [PYTEST ARGUMENT ...]`: run a suite until each test has passed N times in a row.

Each run has a seed, which shuffles the files and the tests in each, and runs beside processes that keep the processors
busy. A hunt may be stopped in any way; the next call continues from its log. The exit code is 1 while tests lack
passes.
"""

import argparse
import fcntl
import secrets
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.hunt import log
from tests.hunt.load import busy, tethered
from tests.trees import working_tree

FOLDER: Final = Path(".hunt")
SUITE: Final = "not containers and not faults and not browser"
"""What `make test` runs."""
PLAIN: Final = ("-q", "--override-ini=addopts=--strict-markers --strict-config -rfE")
GOES_ON: Final = (0, 1, 5)
"""pytest's exit codes after which the next run may find more: all passed, some failed, no test was left to run."""


def main(arguments: list[str]) -> int:
    """Hunt, replay or summarise."""
    parser = argparse.ArgumentParser(prog="python -m tests.hunt", description=__doc__, allow_abbrev=False)
    parser.add_argument("--times", type=int, default=20, metavar="N", help="passes that each test needs (20)")
    parser.add_argument("--load", type=int, default=8, help="runnable processes, those of pytest included (8)")
    parser.add_argument("--processes", type=int, default=2, help="of pytest (2); 0 runs without pytest-xdist")
    parser.add_argument("--seed", type=int, help="of the first run; the others follow from it")
    parser.add_argument("--fresh", action="store_true", help="count only passes of the tests and product as they are")
    parser.add_argument("--log", type=Path, default=FOLDER, metavar="FOLDER", help="where outcomes are kept (.hunt)")
    parser.add_argument("--summary", action="store_true", help="what the log says; runs nothing")
    parser.add_argument("--replay", nargs=2, metavar=("RUN", "TEST"), help="what led to a failure, in the same order")
    given, suite = parser.parse_known_args(arguments)
    folder: Path = given.log.absolute()
    if given.replay:
        number, test = given.replay
        file = folder / f"{int(number):04}.jsonl"
        replayed = [f"--hunt-replay={test}", "-n", "0", *log.read_run(file).arguments]
        return _pytest(file, replayed, given.load - 1)
    if not given.summary:
        folder.mkdir(exist_ok=True)
        suite = [argument for argument in suite if argument != "--"]
        _hunt(folder, suite if "-m" in suite else ["-m", SUITE, *suite], given)
    return _summary(folder, given.times, working_tree() if given.fresh else None)


def _hunt(folder: Path, suite: Sequence[str], given: argparse.Namespace) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell has started us in the background
    seed = secrets.randbelow(1 << 31) if given.seed is None else given.seed
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # pytest inherits the lock: what a killed hunt has left behind may still write
        for round_ in range(given.times):
            run = log.Run(
                seed=seed + round_,
                load=given.load,
                tree=working_tree(),
                began_at=datetime.now(UTC).isoformat(timespec="seconds"),
                arguments=suite,
            )
            file = log.begin(folder, run)
            print(f"run {file.stem}: seed {run.seed}, load {run.load}, tree {run.tree}", flush=True)
            options = [f"--hunt-times={given.times}", *(["--hunt-fresh"] if given.fresh else [])]
            load = run.load - max(given.processes, 1)
            code = _pytest(file, [*options, *_spread(given.processes), *suite], load, lock.fileno())
            if code not in GOES_ON or not log.missing(folder, given.times, run.tree if given.fresh else None):
                break


def _spread(processes: int) -> list[str]:
    """Run files in the order of the seed, not the largest first."""
    return ["-n", str(processes), "--dist", "loadfile", "--no-loadscope-reorder"] if processes else ["-n", "0"]


def _pytest(file: Path, arguments: Sequence[str], load: int, *kept: int) -> int:
    command = [sys.executable, "-m", "pytest", "-p", "tests.hunt.plugin", f"--hunt-run={file}", *PLAIN, *arguments]
    with (
        busy(load),
        # In its own process group, so that it gets one interrupt, from us, and not a second one from the terminal.
        subprocess.Popen(
            tethered(command, signal.SIGINT), stdin=subprocess.DEVNULL, process_group=0, pass_fds=kept
        ) as pytest,
    ):
        try:
            return pytest.wait()
        except KeyboardInterrupt:
            pytest.send_signal(signal.SIGINT)
            return pytest.wait()


def _summary(folder: Path, times: int, tree: str | None) -> int:
    files = log.run_files(folder)
    every = [(file, outcome) for file in files for outcome in log.outcomes(file)]
    failed = [(file, outcome) for file, outcome in every if outcome.outcome == "failed"]
    missing = log.missing(folder, times, tree)
    hunted = len({outcome.test for _, outcome in every})
    print(f"\n{hunted} tests hunted in {len(files)} runs: {len(every)} outcomes, {len(failed)} of them failures")
    for file, outcome in failed:
        run = log.read_run(file)
        words = outcome.text.strip().splitlines() or [""]
        print(f"FAILED {outcome.test}: {words[-1]}")
        print(f"  run {file.stem}, seed {run.seed}, load {run.load}, tree {run.tree}")
        print(f"  python -m tests.hunt --load {run.load} --replay {file.stem} {shlex.quote(outcome.test)}")
    for test, count in missing.items():
        print(f"MISSES {count} of {times} passes without a failure: {test}")
    return 1 if missing or not every else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
