"""The hunt for flaky tests: it finds them, shows how to reproduce them, and continues where it ended."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.hunt import log
from tests.unit.testing.inner import environment, run, write_suite

TESTS = [f"test_{file}.py::test_{name}" for file in "abcde" for name in range(5)]

FLAKY = """
from pathlib import Path

def test_flaky():
    runs = Path(__file__).with_name("runs")
    runs.write_text(runs.read_text() + "x" if runs.exists() else "x")
    assert len(runs.read_text()) != 2, "only the second time"
"""
STEADY = "def test_steady(): pass\n"


def outcomes(folder: Path) -> list[tuple[int, str, str]]:
    return [
        (int(file.stem), outcome.test.partition("::")[2], outcome.outcome)
        for file in log.run_files(folder)
        for outcome in log.outcomes(file)
    ]


def test_an_order_follows_from_its_seed_and_keeps_files_together() -> None:
    orders = [sorted(TESTS, key=lambda test: log.rank(seed, test)) for seed in (1, 2, 1)]
    assert orders[0] == orders[2]
    assert sorted(orders[0]) == sorted(orders[1]) == TESTS
    files = [[test.partition("::")[0] for test in order[::5]] for order in orders]
    assert files[0] != files[1]
    for order in orders:
        assert len({test.partition("::")[0] for test in order[:5]}) == 1
    within = [[test for test in order if "_a.py" in test] for order in orders]
    assert within[0] != within[1]


def test_flaky_test_is_found_and_a_second_call_resumes(tmp_path: Path) -> None:
    write_suite(tmp_path, {"test_a.py": STEADY, "test_b.py": FLAKY})
    hunt = ["tests.hunt", "--times", "3", "--load", "1", "--processes", "0", "--log", "hunted"]
    first = run(tmp_path, [*hunt, "--seed", "7"])
    found = outcomes(tmp_path / "hunted")
    assert sorted(found) == [
        (1, "test_flaky", "passed"),
        (1, "test_steady", "passed"),
        (2, "test_flaky", "failed"),
        (2, "test_steady", "passed"),
        (3, "test_flaky", "passed"),
        (3, "test_steady", "passed"),
    ]
    assert "2 tests hunted in 3 runs: 6 outcomes, 1 of them failures" in first.stdout
    assert "MISSES 2 of 3 passes without a failure: test_b.py::test_flaky" in first.stdout
    assert "AssertionError: only the second time" in first.stdout
    assert "run 0002, seed 8, load 1, tree " in first.stdout
    assert first.returncode == 1

    (replay,) = (line.split()[3:] for line in first.stdout.splitlines() if "--replay" in line)
    (tmp_path / "runs").write_text("x")
    again = run(tmp_path, ["tests.hunt", "--log", "hunted", *replay])
    ran_before = [test for number, test, _ in found if number == 2]
    assert again.stdout.count("only the second time") > 0
    assert f"1 failed, {ran_before.index('test_flaky')} passed".removesuffix(", 0 passed") in again.stdout

    second = run(tmp_path, hunt)
    assert outcomes(tmp_path / "hunted")[6:] == [(4, "test_flaky", "passed"), (5, "test_flaky", "passed")]
    assert "MISSES" not in second.stdout
    assert second.returncode == 0


HELD = """
import time
from pathlib import Path

def test_held():
    folder = Path(__file__).parent
    (folder / "begun").touch()
    while not (folder / "released").exists():
        time.sleep(0.01)
"""


@contextmanager
def begun(folder: Path, hunt: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """A running hunt, in the middle of the blocked test."""
    command = [sys.executable, "-m", *hunt]
    with subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True) as hunting:
        try:
            while not (folder / "begun").exists():
                assert hunting.poll() is None
                time.sleep(0.01)
            yield hunting
        finally:
            hunting.kill()


def test_killed_hunt_leaves_no_process_and_resumes(tmp_path: Path) -> None:
    write_suite(tmp_path, {"test_a.py": STEADY, "test_b.py": HELD})
    hunt = ["tests.hunt", "--times", "1", "--load", "3", "--log", "hunted"]
    with begun(tmp_path, [*hunt, "--processes", "0", "--seed", "1"]) as hunting:
        family = psutil.Process(hunting.pid).children(recursive=True)
        assert len(family) == 3  # pytest, and two processes that keep the CPUs busy
        hunting.kill()
    assert psutil.wait_procs(family, timeout=60)[1] == []
    assert outcomes(tmp_path / "hunted") == [(1, "test_steady", "passed")]

    (tmp_path / "released").touch()
    assert run(tmp_path, [*hunt, "--processes", "2"]).returncode == 0
    assert outcomes(tmp_path / "hunted") == [(1, "test_steady", "passed"), (2, "test_held", "passed")]


def test_interrupt_ends_the_run_with_a_summary(tmp_path: Path) -> None:
    write_suite(tmp_path, {"test_b.py": HELD})
    hunt = ["tests.hunt", "--times", "2", "--load", "1", "--processes", "0", "--log", "hunted"]
    with begun(tmp_path, hunt) as hunting:
        os.kill(hunting.pid, signal.SIGINT)
        said, _ = hunting.communicate()
    assert "MISSES 2 of 2 passes without a failure: test_b.py::test_held" in said
    assert hunting.returncode == 1


def test_half_a_line_at_the_end_of_a_log_is_ignored(tmp_path: Path) -> None:
    run_ = log.Run(seed=1, load=2, tree="3", began_at="4", arguments=["5"])
    file = log.begin(tmp_path, run_)
    line = '{"test": "t", "outcome": "passed", "worker": "gw0", "seconds": 1, "text": ""}\n'
    file.write_text(file.read_text() + line + line[:30])
    assert log.read_run(file).seed == 1
    assert [outcome.test for outcome in log.outcomes(file)] == ["t"]
    assert log.begin(tmp_path, run_).name == "0002.jsonl"


def test_passes_count_since_the_last_failure_optionally_per_tree(tmp_path: Path) -> None:
    line = '{{"test": "t", "outcome": "{}", "worker": "gw0", "seconds": 1, "text": ""}}\n'
    for tree, ended in [("a", "passed"), ("a", "failed"), ("a", "passed"), ("b", "skipped"), ("b", "passed")]:
        file = log.begin(tmp_path, log.Run(seed=1, load=2, tree=tree, began_at="", arguments=[]))
        file.write_text(file.read_text() + line.format(ended))
    files = log.run_files(tmp_path)
    assert log.passes(files)["t"] == 3
    assert log.passes(files, "b")["t"] == 2
    log.write_collected(files[-1], ["t", "u"])
    assert log.missing(tmp_path, 4) == {"t": 1, "u": 4}
